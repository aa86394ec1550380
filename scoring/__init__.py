"""Embed the catalogue, score candidate sets, keep the best, report."""
