"""Sums over the parts of a pair: counts per window, decays over the longest one, as of one day.

Everything is a bincount over entries: a pair's parts are added in the order of time, so that a sum of floats comes out
the same to the last bit wherever and with whatever else it is computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from etl.contract import columns as c
from etl.contract.dates import DateRange, day_number
from etl.kernels.codes import Floats, Ints
from etl.kernels.pairs import Entries


@dataclass(frozen=True)
class Reach:
    """How the parts lie before one target day; outside of its cover a part weighs nothing."""

    ring: Ints  # (parts,) the shortest window, by position, that holds the part; W where none does
    age: Ints  # (parts,) days from the part's last day to the target
    windows: int

    @classmethod
    def of(cls, parts: Sequence[DateRange], used: Sequence[DateRange], ds: str, windows_days: Sequence[int]) -> "Reach":
        """``used`` is the cover of ds; ``windows_days`` ascending."""
        target, inside = day_number(ds), set(used)
        oldest = np.array([target - day_number(part.start) for part in parts], dtype=np.int64)
        age = np.array([target - day_number(part.end) for part in parts], dtype=np.int64)
        ring = np.searchsorted(np.asarray(windows_days), oldest, side="right")
        outside = np.array([part not in inside for part in parts], dtype=bool)
        return cls(np.where(outside, len(windows_days), ring), age, len(windows_days))


def window_counts(entries: Entries, reach: Reach, count: str) -> Ints:
    """(P, W) counts of each pair in each window, shortest first."""
    return _by_ring(entries, reach, entries.numbers(count)).cumsum(axis=1).astype(np.int64)


def seen(entries: Entries, reach: Reach) -> npt.NDArray[np.bool_]:
    """(P,) whether the longest window holds anything of the pair."""
    return _by_ring(entries, reach, None).max(axis=1, initial=0) > 0


def seen_before(entries: Entries, reach: Reach, days: int) -> npt.NDArray[np.bool_]:
    """(P,) whether the longest window holds anything of the pair that is ``days`` old or older."""
    old = (reach.ring < reach.windows) & (reach.age >= days)
    return np.bincount(entries.pair, weights=old[entries.part], minlength=len(entries.pairs)) > 0


def decayed_sum(entries: Entries, reach: Reach, action: str, half_life_days: int) -> Floats:
    """(P,) sum of count * 0.5^(age_days / half_life_days) from the same sums of each part, as of its last day."""
    weight = np.where(reach.ring < reach.windows, 0.5 ** (np.maximum(reach.age, 0) / half_life_days), 0.0)
    weighted = entries.numbers(c.decayed(action, half_life_days)) * weight[entries.part]
    return np.bincount(entries.pair, weights=weighted, minlength=len(entries.pairs)).astype(np.float64)


def _by_ring(entries: Entries, reach: Reach, weights: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    """(P, W) sums of each pair over the parts of each ring."""
    rings = reach.windows + 1
    index = entries.pair * rings + reach.ring[entries.part]
    sums = np.bincount(index, weights=weights, minlength=len(entries.pairs) * rings)
    return sums.reshape(-1, rings)[:, : reach.windows]
