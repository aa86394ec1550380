"""What an export says about each numeric feature of its training rows, and how far two exports differ in one.

The histogram of a feature has a bin for missing values (NaN), a bin for exactly 0, and intervals for everything else:
bin k of the intervals covers (edges[k-1], edges[k]], the first and the last are open. Edges are the deciles of the
values that are neither missing nor 0, equal ones merged, so a feature that is 0 almost everywhere still has bins.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PERCENTS = (1, 5, 10, 25, 50, 75, 90, 95, 99)
BINS = 10
#: An empty bin counts as this share, so that its logarithm is finite; one of a thousand then gives a PSI of 0.002.
FLOOR = 1e-4


@dataclass(frozen=True)
class FeatureStatistics:
    """One feature over the training rows; figures other than ``rows`` and shares are None where no row has a value."""

    rows: int
    missing_share: float
    """Rows without a value of their own: NaN, or for a cross feature no history of the pair under its segment."""
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    """Of the population (divided by the number of values)."""
    quantiles: dict[str, float]
    """'p1' to 'p99' (see PERCENTS): the smallest value that so many percent of the values do not exceed."""
    edges: tuple[float, ...]
    shares: tuple[float, ...]
    """Of missing values, of zeros, then of the len(edges) + 1 intervals."""

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "FeatureStatistics":
        return cls(**plain | {"edges": tuple(plain["edges"]), "shares": tuple(plain["shares"])})


def psi(expected: Sequence[float], actual: Sequence[float]) -> float:
    """Population stability index of two histograms over the same bins: the sum of (p - q) ln(p / q), 0 if equal.

    Shares below FLOOR count as FLOOR. As a rule of thumb, below 0.1 is noise and above 0.25 a shift.
    """
    floored = [(max(p, FLOOR), max(q, FLOOR)) for p, q in zip(expected, actual, strict=True)]
    return math.fsum((p - q) * math.log(p / q) for p, q in floored)
