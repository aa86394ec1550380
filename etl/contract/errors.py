"""The failures that a user can meet, each with the exit code of the program.

Every message says what failed, where, what was expected and what to do next.
"""

import difflib
from collections.abc import Iterable


class PrerankError(Exception):
    """A failure with an explanation; the program prints it without a traceback.

    ``retryable`` tells a scheduler whether the same command may succeed later without a change.
    """

    exit_code = 1
    retryable = False


class UsageError(PrerankError):
    """The command line or the configuration is wrong (exit code 2)."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not among the known ones; names the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(kind, name, self.known)

    def __str__(self) -> str:
        near = difflib.get_close_matches(self.name, self.known, n=1, cutoff=0.0)
        hint = f"did you mean '{near[0]}'? " if near else ""
        return f"unknown {self.kind} '{self.name}': {hint}known: {', '.join(self.known)}"


class ManifestError(PrerankError):
    """A directory that should hold a finished export or model does not."""
