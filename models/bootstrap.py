"""Intervals by resampling requests: 95 %, percentile; the same resamples for every column, so differences pair."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESAMPLES = 1000
LEVEL = 0.95
_CELLS = 4_000_000


def intervals(values: Floats, seed: int, resamples: int = RESAMPLES) -> tuple[Floats, Floats]:
    """Lower and upper bounds (M,) of the column means of ``values`` (R, M); NaN cells are left out of their column."""
    seen = ~np.isnan(values)
    both = np.concatenate([np.where(seen, values, 0.0), seen.astype(np.float64)], axis=1)
    means = []
    for counts in drawn_counts(len(values), seed, resamples):
        sums, weights = np.split(counts @ both, 2, axis=1)
        means.append(np.divide(sums, weights, out=np.full_like(sums, np.nan), where=weights > 0))
    return bounds(np.concatenate(means))


def drawn_counts(requests: int, seed: int, resamples: int = RESAMPLES) -> Iterator[Floats]:
    """How often each of R requests is in each resample, as many resamples at a time (_, R) as fit in memory."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    chunk = max(1, _CELLS // max(requests, 1))
    for start in range(0, resamples, chunk):
        rounds = min(chunk, resamples - start)
        drawn = generator.integers(0, requests, size=(rounds, requests))
        drawn += requests * np.arange(rounds)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rounds * requests)
        yield counts.reshape(rounds, requests).astype(np.float64)


def bounds(samples: Floats) -> tuple[Floats, Floats]:
    """Lower and upper bounds (M,) of what M figures came to on each resample (S, M); NaN where none had a value."""
    empty = np.isnan(samples).all(axis=0)
    low, high = np.nanquantile(np.where(empty, 0.0, samples), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    low[empty] = high[empty] = np.nan
    return low, high
