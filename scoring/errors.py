"""Failures of scoring. Base classes and exit codes: etl.contract.errors."""

from etl.contract.errors import PrerankError


class ScoringError(PrerankError):
    """Candidates, a model or the lake do not fit together; the message says what to do."""
