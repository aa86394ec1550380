"""Figures of each feature over the training rows of an export, from its files in bounded memory.

Counts, extremes, mean and deviation are of all rows. Quantiles and histograms are of a sample: every row of an export
with at most SAMPLE_ROWS of them, otherwise about so many, picked by a hash of the row's number, so that the same export
has the same figures. A decile of the sample is then off by less than 0.2 percentiles, and two samples of the same
distribution differ by a PSI of about 0.0001.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from etl.arrow_files import open_arrow
from etl.contract.manifest import ITEMS_FILE, TRAIN, Manifest
from etl.contract.statistics import BINS, PERCENTS, FeatureStatistics
from etl.cross import HAS_HISTORY

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
    """Read the training shards once; item numerics count once per training row of the item."""
    names, history = feature_names(manifest), _history_columns(manifest.cross)
    moments = _Moments(len(names))
    kept: list[tuple[Floats, Floats]] = []
    total = sum(shard.rows for shard in manifest.shards if shard.split == TRAIN)
    done = 0
    for cross, numerics in _blocks(directory, manifest):
        block = np.concatenate([cross, numerics], axis=1, dtype=np.float64)
        absent = np.isnan(block)
        known = history >= 0
        no_history = absent.copy()
        no_history[:, : len(history)][:, known] |= cross[:, history[known]] == 0
        moments.add(block, absent, no_history)
        picked = _picked(np.arange(done, done + len(block)), total, sample_rows)
        kept.append((cross[picked], numerics[picked]))
        done += len(block)
    sample: dict[str, Floats] = dict.fromkeys(names, np.zeros(0))
    if kept:
        wide, narrow = (np.concatenate(part) for part in zip(*kept, strict=True))
        sample = dict(zip(names, [*wide.T, *narrow.T], strict=True))
    return Summary({name: moments.statistics(at, sample[name]) for at, name in enumerate(names)}, sample)


def edges_of(values: Floats) -> tuple[float, ...]:
    """Inner edges of at most BINS intervals: the distinct deciles of values that are neither NaN nor 0."""
    values = values[~np.isnan(values) & (values != 0)]
    if not len(values):
        return ()
    deciles = np.quantile(values, np.arange(1, BINS) / BINS, method="inverted_cdf")
    # Nothing lies above the largest value: as an edge it would only add an empty interval.
    return tuple(float(edge) for edge in np.unique(deciles) if edge < values.max())


def shares_of(values: Floats, edges: Sequence[float]) -> tuple[float, ...]:
    """Shares of NaN, of 0, and of the intervals (see etl.contract.statistics)."""
    missing, zero = np.isnan(values), values == 0
    inside = np.searchsorted(np.asarray(edges, dtype=np.float64), values[~missing & ~zero].astype(np.float64))
    counts = [missing.sum(), zero.sum(), *np.bincount(inside, minlength=len(edges) + 1)]
    return tuple(float(count) / max(1, len(values)) for count in counts)


@dataclass
class _Moments:
    """Running figures of F features."""

    features: int
    rows: int = 0
    count: Floats = field(init=False)
    mean: Floats = field(init=False)
    squares: Floats = field(init=False)
    low: Floats = field(init=False)
    high: Floats = field(init=False)
    missing: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.count, self.mean, self.squares, self.missing = (np.zeros(self.features) for _ in range(4))
        self.low, self.high = np.full(self.features, np.inf), np.full(self.features, -np.inf)

    def add(self, block: Floats, absent: npt.NDArray[np.bool_], no_history: npt.NDArray[np.bool_]) -> None:
        """Merge the moments of a block (n, F) by Chan's formula, which keeps small deviations of large values."""
        count = (~absent).sum(axis=0).astype(np.float64)
        seen, both = np.maximum(count, 1), np.maximum(self.count + count, 1)
        mean = np.where(absent, 0.0, block).sum(axis=0) / seen
        squares = np.where(absent, 0.0, (block - mean) ** 2).sum(axis=0)
        change = mean - self.mean
        self.squares += squares + change**2 * self.count * count / both
        self.mean += change * count / both
        self.count += count
        self.low = np.fmin(self.low, np.where(absent, np.inf, block).min(axis=0, initial=np.inf))
        self.high = np.fmax(self.high, np.where(absent, -np.inf, block).max(axis=0, initial=-np.inf))
        self.missing += no_history.sum(axis=0)
        self.rows += len(block)

    def statistics(self, at: int, sample: Floats) -> FeatureStatistics:
        """Of feature ``at``; ``sample`` holds some or all of its values."""
        some = self.count[at] > 0
        present = sample[~np.isnan(sample)]
        found: list[float] = []
        if len(present):
            found = np.quantile(present, np.array(PERCENTS) / 100, method="inverted_cdf").tolist()
        edges = edges_of(sample)
        return FeatureStatistics(
            rows=self.rows,
            missing_share=float(self.missing[at] / max(1, self.rows)),
            min=float(self.low[at]) if some else None,
            max=float(self.high[at]) if some else None,
            mean=float(self.mean[at]) if some else None,
            std=float(np.sqrt(self.squares[at] / self.count[at])) if some else None,
            quantiles={f"p{percent}": value for percent, value in zip(PERCENTS, found, strict=False)},
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


def _history_columns(cross: Sequence[str]) -> npt.NDArray[np.int64]:
    """(C,) where each cross feature's own segment says whether the pair has history; -1 for what is never missing."""
    places = {name: place for place, name in enumerate(cross)}
    wanted = [f"{name.split('__')[0]}__{HAS_HISTORY}" for name in cross]
    return np.array(
        [-1 if name == own else places.get(own, -1) for name, own in zip(cross, wanted, strict=True)], dtype=np.int64
    )


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
