"""Knowing what happened, and keeping the lake in shape: the audit trail, monitoring, maintenance."""
