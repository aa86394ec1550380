"""The best k of each request, all requests of a block at once: by score, ties by row, which is by item_id.

A pair becomes one 64-bit key, its score above its row, so that plain integers sort as rankings do.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Below the key of any score.
NOTHING = np.iinfo(np.int64).min
_LOW = np.int64(0x7FFFFFFF)

Keys = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Best:
    """The best of R requests, one after the other, best first."""

    rows: npt.NDArray[np.int32]  # (M,)
    scores: npt.NDArray[np.float32]  # (M,)
    counts: npt.NDArray[np.int64]  # (R,)
    repeated: npt.NDArray[np.int64]  # (R,) pairs that a request named more than once, beyond the first


def sort_keys(scores: npt.NDArray[np.float32], rows: npt.NDArray[np.int32]) -> Keys:
    """Keys (P,), higher for better; equal scores are higher for the lower row. NOTHING for what is not finite."""
    # Adding 0 makes -0 the same as 0.
    bits = (scores + np.float32(0)).view(np.int32)
    ordered = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    keys = (ordered.astype(np.int64) << 32) | (_LOW - rows)
    keys[~np.isfinite(scores)] = NOTHING
    return keys


def best_of(keys: Keys, lengths: npt.NDArray[np.int64], k: int) -> Best:
    """The ``k`` highest keys of each of R requests, whose keys (P,) lie one after the other, ``lengths`` (R,) of them.

    A key that repeats within a request counts once.
    """
    starts = np.cumsum(lengths) - lengths
    best = np.full((len(lengths), k), NOTHING)
    repeated = np.zeros(len(lengths), dtype=np.int64)
    # Requests of about one length make a table without much padding.
    sizes = np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64)
    for size in np.unique(sizes[lengths > 0]).tolist():
        some = np.flatnonzero((sizes == size) & (lengths > 0))
        top, repeated[some] = _sorted_table(keys, starts[some], lengths[some], k)
        best[some, : top.shape[1]] = top
    kept = best != NOTHING
    flat = best[kept]
    ordered = (flat >> 32).astype(np.int32)
    scores = (ordered ^ ((ordered >> 31) & np.int32(0x7FFFFFFF))).view(np.float32)
    return Best((_LOW - (flat & _LOW)).astype(np.int32), scores, kept.sum(axis=1), repeated)


def _sorted_table(
    keys: Keys, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], k: int
) -> tuple[Keys, npt.NDArray[np.int64]]:
    """The best (R, <= k) of requests of similar lengths, and how many keys repeat in each (R,)."""
    width = int(lengths.max())
    places = np.arange(width)
    if (lengths == width).all() and starts[-1] - starts[0] == width * (len(starts) - 1):
        table = keys[starts[0] : starts[0] + width * len(starts)].reshape(len(starts), width).copy()
    else:
        table = keys[np.minimum(starts[:, None] + places, len(keys) - 1)]
        table[places >= lengths[:, None]] = NOTHING
    table.sort(axis=1)
    again = (table[:, 1:] == table[:, :-1]) & (table[:, 1:] != NOTHING)
    repeated = again.sum(axis=1)
    if repeated.any():
        table[:, 1:][again] = NOTHING
        table.sort(axis=1)
    return table[:, : -min(k, width) - 1 : -1], repeated
