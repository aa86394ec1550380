"""Distinct users of pairs over windows, from sketches: the K smallest 64-bit hashes of the users seen (KMV).

Below K users a sketch is the exact set, so a window's figure is an exact count; above, the hashes up to the smallest
last hash of a full sketch are complete, and their density gives an estimate with a standard error of 1 / sqrt(K),
1.6 %. Merging is a set union: no order of rows changes a figure.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from etl.contract import columns as c
from etl.kernels.codes import Ints
from etl.kernels.pairs import Entries
from etl.kernels.windows import Reach

MAX_HASHES = 4096
_LARGEST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Hashes:
    """Every hash of every entry that a cover holds, each user once per pair, with the youngest ring that saw it."""

    pair: Ints  # (H,) ascending
    hash: Ints  # (H,) ascending within a pair
    ring: Ints  # (H,)
    cut: Ints  # (P, W) the hash up to which a pair's users are complete in a window; the largest number if all are


def hashes_of(entries: Entries, reach: Reach, size: int = MAX_HASHES) -> Hashes:
    sketches = entries.columns[c.USERS_SKETCH]
    lengths = pc.fill_null(pc.list_value_length(sketches), 0).to_numpy(zero_copy_only=False)
    hashes = sketches.flatten().to_numpy(zero_copy_only=False)
    ring = reach.ring[entries.part]
    cut = _cuts(entries, reach, hashes, lengths, size)
    pair, ring = np.repeat(entries.pair, lengths), np.repeat(ring, lengths)
    inside = ring < reach.windows
    pair, ring, hashes = pair[inside], ring[inside], hashes[inside]
    order = np.lexsort((ring, hashes, pair))
    pair, ring, hashes = pair[order], ring[order], hashes[order]
    first = np.ones(len(pair), dtype=bool)
    first[1:] = (pair[1:] != pair[:-1]) | (hashes[1:] != hashes[:-1])
    return Hashes(pair[first], hashes[first], ring[first], cut)


def users_by_window(hashes: Hashes) -> Ints:
    """(P, W) distinct users, shortest window first."""
    count, windows = hashes.cut.shape
    users = np.empty((count, windows), dtype=np.int64)
    for window in range(windows):
        inside = hashes.ring <= window
        cut = hashes.cut[:, window]
        complete = inside & (hashes.hash <= cut[hashes.pair])
        below = np.bincount(hashes.pair[complete], minlength=count)
        share = (cut.astype(np.float64) + 2.0**63) / 2.0**64
        users[:, window] = np.where(cut == _LARGEST, below, np.round(below / np.maximum(share, 2.0**-64)))
    # An estimate of a longer window may fall below the exact count of a shorter one.
    return np.maximum.accumulate(users, axis=1)


def merged_sketches(hashes: Hashes, size: int = MAX_HASHES) -> pa.ListArray:
    """P sketches of the longest window."""
    count = len(hashes.cut)
    kept = hashes.hash <= hashes.cut[hashes.pair, -1]
    pair, values = hashes.pair[kept], hashes.hash[kept]
    starts = np.searchsorted(pair, np.arange(count + 1))
    rank = np.arange(len(pair)) - starts[pair]
    pair, values = pair[rank < size], values[rank < size]
    offsets = np.searchsorted(pair, np.arange(count + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, values)


def _cuts(entries: Entries, reach: Reach, hashes: npt.NDArray[np.int64], lengths: Ints, size: int) -> Ints:
    cut = np.full((len(entries.pairs), reach.windows), _LARGEST)
    ends = np.cumsum(lengths)
    for entry in np.flatnonzero(lengths >= size):
        ring = reach.ring[entries.part[entry]]
        row = cut[entries.pair[entry], ring:]
        np.minimum(row, hashes[ends[entry] - 1], out=row)
    return cut
