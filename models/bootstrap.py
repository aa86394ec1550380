"""Intervals by resampling requests: 95 %, percentile; the same resamples for every column, so differences pair."""

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
LEVEL = 0.95
_CELLS = 4_000_000


def intervals(
    values: npt.NDArray[np.float64], seed: int, resamples: int = RESAMPLES
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Lower and upper bounds (M,) of the column means of ``values`` (R, M); NaN cells are left out of their column."""
    requests = len(values)
    generator = np.random.Generator(np.random.Philox(key=seed))
    seen = ~np.isnan(values)
    both = np.concatenate([np.where(seen, values, 0.0), seen.astype(np.float64)], axis=1)
    means = np.empty((resamples, values.shape[1]))
    chunk = max(1, _CELLS // max(requests, 1))
    for start in range(0, resamples, chunk):
        rounds = min(chunk, resamples - start)
        drawn = generator.integers(0, requests, size=(rounds, requests))
        drawn += requests * np.arange(rounds)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rounds * requests).reshape(rounds, requests).astype(np.float64)
        sums, weights = np.split(counts @ both, 2, axis=1)
        means[start : start + rounds] = np.divide(sums, weights, out=np.full_like(sums, np.nan), where=weights > 0)
    empty = np.isnan(means).all(axis=0)
    means[:, empty] = 0.0
    low, high = np.nanquantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    low[empty] = high[empty] = np.nan
    return low, high
