"""Figures of each feature over the training rows of an export, from its files in bounded memory.

Counts, extremes, mean and deviation are of all rows. Quantiles and histograms are of a sample: every row of an export
with at most SAMPLE_ROWS of them, otherwise about so many, picked by a hash of the row's number, so that the same export
has the same figures. A decile of the sample is then off by less than 0.2 percentiles, and two samples of the same
distribution differ by a PSI of about 0.0001.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from etl.arrow_files import open_arrow
from etl.contract.columns import HAS_HISTORY
from etl.contract.manifest import ITEMS_FILE, TRAIN, Manifest
from etl.contract.statistics import BINS, PERCENTS, FeatureStatistics

Floats = npt.NDArray[Any]

SAMPLE_ROWS = 1 << 18
_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class Summary:
    """Statistics by feature, and the sample (S,) that their quantiles and shares come from."""

    statistics: dict[str, FeatureStatistics]
    sample: dict[str, Floats]


def feature_names(manifest: Manifest) -> list[str]:
    """Cross features by their names, item numerics as ``items.<name>``."""
    return [*manifest.cross, *(f"items.{name}" for name in manifest.numerics)]


def summarize(directory: Path, manifest: Manifest, sample_rows: int = SAMPLE_ROWS) -> Summary:
    """Read the training shards once; item numerics count once per training row of the item.

    Every row counts alike, whatever its weight: this is what a model is shown.
    """
    flags, flag_of = _history_flags(manifest.cross)
    of_cross, of_items = _Moments(len(manifest.cross)), _Moments(len(manifest.numerics))
    no_history = np.zeros(len(flags), dtype=np.int64)
    kept: list[tuple[Floats, Floats]] = []
    total = sum(shard.rows for shard in manifest.shards if shard.split == TRAIN)
    for cross, numerics in _blocks(directory, manifest):
        picked = _picked(np.arange(of_cross.rows, of_cross.rows + len(cross)), total, sample_rows)
        kept.append((cross[picked], numerics[picked]))
        of_cross.add(cross)
        of_items.add(numerics)
        no_history += np.count_nonzero(cross[:, flags] == 0, axis=0)
    sampled = [np.concatenate(part) for part in zip(*kept, strict=True)]
    missing = [*np.where(flag_of >= 0, np.append(no_history, 0)[flag_of], of_cross.absent), *of_items.absent]
    names = feature_names(manifest)
    # A column at a time is read from here on.
    columns = [column for block in sampled for column in np.ascontiguousarray(block.T)]
    sample = dict(zip(names, columns or [np.zeros(0)] * len(names), strict=True))
    moments = [*of_cross.figures(), *of_items.figures()]
    return Summary(
        {
            name: _statistics(of_cross.rows, int(missing[at]), moments[at], sample[name])
            for at, name in enumerate(names)
        },
        sample,
    )


def edges_of(values: Floats) -> tuple[float, ...]:
    """Inner edges of at most BINS intervals: the distinct deciles of values that are neither NaN nor 0.

    One that is the largest value too stays: what another export has above it counts as new.
    """
    values = values[~np.isnan(values) & (values != 0)]
    if not len(values):
        return ()
    deciles = np.quantile(values, np.arange(1, BINS) / BINS, method="inverted_cdf")
    return tuple(float(edge) for edge in np.unique(deciles))


def shares_of(values: Floats, edges: Sequence[float]) -> tuple[float, ...]:
    """Shares of NaN, of 0, and of the intervals (see etl.contract.statistics)."""
    missing, zero = np.isnan(values), values == 0
    inside = np.searchsorted(np.asarray(edges, dtype=np.float64), values[~missing & ~zero].astype(np.float64))
    counts = [missing.sum(), zero.sum(), *np.bincount(inside, minlength=len(edges) + 1)]
    return tuple(float(count) / max(1, len(values)) for count in counts)


@dataclass(frozen=True)
class _Figures:
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None


class _Moments:
    """Running figures of F features; NaN is no value."""

    def __init__(self, features: int):
        self.rows = 0
        self.count, self.mean, self.squares = (np.zeros(features) for _ in range(3))
        self.low, self.high = np.full(features, np.inf), np.full(features, -np.inf)

    @property
    def absent(self) -> Floats:
        return self.rows - self.count

    def add(self, block: Floats) -> None:
        """Merge the moments of a block (n, F) by Chan's formula, which keeps small deviations of large values."""
        absent = np.isnan(block)
        self.low = np.fmin(self.low, np.fmin.reduce(block, axis=0, initial=np.inf))
        self.high = np.fmax(self.high, np.fmax.reduce(block, axis=0, initial=-np.inf))
        count = len(block) - np.count_nonzero(absent, axis=0)
        values = block.astype(np.float64)
        if absent.any():
            values[absent] = 0.0
        mean = values.sum(axis=0) / np.maximum(count, 1)
        values -= mean
        if absent.any():
            values[absent] = 0.0
        both = np.maximum(self.count + count, 1)
        change = mean - self.mean
        self.squares += np.einsum("nf,nf->f", values, values) + change**2 * self.count * count / both
        self.mean += change * count / both
        self.count += count
        self.rows += len(block)

    def figures(self) -> list[_Figures]:
        """Per feature; the deviation is of the population."""
        return [
            _Figures(float(low), float(high), float(mean), float(np.sqrt(squares / count))) if count else _Figures()
            for low, high, mean, squares, count in zip(
                self.low, self.high, self.mean, self.squares, self.count, strict=True
            )
        ]


def _statistics(rows: int, missing: int, figures: _Figures, sample: Floats) -> FeatureStatistics:
    present = sample[~np.isnan(sample)]
    quantiles: list[float] = []
    if len(present):
        quantiles = np.quantile(present, np.array(PERCENTS) / 100, method="inverted_cdf").tolist()
    edges = edges_of(sample)
    return FeatureStatistics(
        rows=rows,
        missing_share=missing / max(1, rows),
        **vars(figures),
        quantiles={f"p{percent}": value for percent, value in zip(PERCENTS, quantiles, strict=False)},
        edges=edges,
        shares=shares_of(sample, edges),
    )


def _blocks(directory: Path, manifest: Manifest) -> Iterator[tuple[Floats, Floats]]:
    """Cross features (n, C) and item numerics (n, M) of the training rows, some at a time."""
    items = open_arrow(directory / ITEMS_FILE)
    of_item = items.column("numerics").values.to_numpy().reshape(len(items), len(manifest.numerics))
    for shard in manifest.shards:
        if shard.split == TRAIN and shard.rows:
            with pq.ParquetFile(directory / shard.path) as file:
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=["item", "cross"]):
                    cross = batch.column("cross").flatten().to_numpy().reshape(len(batch), len(manifest.cross))
                    yield cross, of_item[batch.column("item").to_numpy()]


def _history_flags(cross: Sequence[str]) -> tuple[list[int], npt.NDArray[np.int64]]:
    """Where the cross features lie that say whether a pair has history, and for each feature (C,) the one of its
    segment among them; -1 for what is never missing.
    """
    names = [name for name in cross if name.endswith(f"__{HAS_HISTORY}")]
    flags = {name: place for place, name in enumerate(names)}
    own = [-1 if name in flags else flags.get(f"{name.split('__')[0]}__{HAS_HISTORY}", -1) for name in cross]
    return [cross.index(name) for name in names], np.array(own, dtype=np.int64)


def _picked(numbers: npt.NDArray[np.int64], total: int, wanted: int) -> npt.NDArray[np.bool_]:
    """Which rows the sample has. A stride would pick the same position of every request where requests are alike."""
    if total <= wanted:
        return np.ones(len(numbers), dtype=bool)
    # The finalizer of SplitMix64: neighbours come out independent.
    mixed = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed < np.uint64(int(wanted / total * 2**64))
