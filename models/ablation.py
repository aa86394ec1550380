"""What a ladder's rungs came to, summed up as plain values: means over seeds, intervals over requests, differences.

A metric of a rung is its mean over seeds, request by request. Intervals resample requests, the same ones for every
rung, so differences are paired; they know nothing of seeds, whose spread stands beside as ``{metric}_std``, the
standard deviation of the seeds' means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np
import numpy.typing as npt

from etl.contract.manifest import TEST, VALIDATION
from models.evaluate import ORACLE, Columns, with_intervals

METRICS = ("hits@3", "ndcg@10", "auc")
SPLITS = (VALIDATION, TEST)
HEADLINE = "hits@3"
Floats = npt.NDArray[np.float64]
Values = Mapping[str, Mapping[str, Floats]]
"""By split and metric: one value per request (R,), NaN where the metric judges nothing."""


@dataclass(frozen=True)
class Measured:
    """What one training came to."""

    values: Values
    quality: float
    """The validation metric that epochs are chosen by, of the best one."""
    best_epoch: int
    seconds: float


@dataclass(frozen=True)
class RungResult:
    name: str
    before: str | None
    """The rung that it was built on; None at the bottom."""
    carried_on: bool
    setup: dict[str, Any]
    """What was trained: the model, its number of cross features, and what the ladder sets of the configuration."""
    by_seed: Sequence[Measured]

    @property
    def quality(self) -> float:
        return mean(run.quality for run in self.by_seed)


def summary(rungs: Sequence[RungResult], references: Mapping[str, Values], seed: int) -> dict[str, Any]:
    """Keys metrics, requests, rungs, references, and total: the last rung carried on against the first.

    ``references`` are by name, without seeds. ``seed`` is of the resamples.
    """
    first, last = rungs[0].name, [rung.name for rung in rungs if rung.carried_on][-1]
    values = {rung.name: _over_seeds(rung.by_seed) for rung in rungs} | dict(references)
    tables = {split: with_intervals(_columns(split, values, rungs, (last, first)), seed) for split in SPLITS}
    return {
        "metrics": list(METRICS),
        "requests": {split: int((~np.isnan(values[first][split][HEADLINE])).sum()) for split in SPLITS},
        "rungs": [_plain(rung, tables) for rung in rungs],
        "references": {name: {split: tables[split]["", name] for split in SPLITS} for name in references},
        "total": {"rung": last, "before": first} | {split: _total(tables[split], first, last) for split in SPLITS},
    }


def _over_seeds(runs: Sequence[Measured]) -> dict[str, dict[str, Floats]]:
    return {
        split: {metric: np.mean([run.values[split][metric] for run in runs], axis=0) for metric in METRICS}
        for split in SPLITS
    }


def _columns(split: str, values: Mapping[str, Values], rungs: Sequence[RungResult], total: tuple[str, str]) -> Columns:
    """Values (R,) by ('' for themselves or '-' minus the rung before or 'total', name, metric)."""
    columns: Columns = {}
    for metric in METRICS:
        of = {name: by_split[split][metric] for name, by_split in values.items()}
        columns |= {("", name, metric): value for name, value in of.items()}
        columns |= {("-", rung.name, metric): of[rung.name] - of[rung.before] for rung in rungs if rung.before}
        columns["total", total[0], metric] = of[total[0]] - of[total[1]]
    return columns


def _plain(rung: RungResult, tables: Mapping[str, dict[tuple[str, str], dict[str, Any]]]) -> dict[str, Any]:
    return {
        "name": rung.name,
        "before": rung.before,
        "carried_on": rung.carried_on,
        "setup": rung.setup,
        "quality": rung.quality,
        **{split: tables[split]["", rung.name] | _spread(rung, split) for split in SPLITS},
        "difference": {split: tables[split].get(("-", rung.name)) for split in SPLITS},
        "best_epochs": [run.best_epoch for run in rung.by_seed],
        "seconds": [round(run.seconds, 1) for run in rung.by_seed],
    }


def _spread(rung: RungResult, split: str) -> dict[str, Any]:
    """By metric the mean of each seed, and their standard deviation; None for one seed, which has none."""
    found: dict[str, Any] = {}
    for metric in METRICS:
        means = [float(np.nanmean(run.values[split][metric])) for run in rung.by_seed]
        found[f"{metric}_seeds"] = means
        found[f"{metric}_std"] = stdev(means) if len(means) > 1 else None
    return found


def _total(table: dict[tuple[str, str], dict[str, Any]], first: str, last: str) -> dict[str, Any]:
    """The difference by metric, and of the headline also relative to the first and to what the oracle leaves open."""
    found: dict[str, Any] = table["total", last]
    base, gained = table["", first][HEADLINE], found[HEADLINE]
    relative = {"relative": gained / base if base else None}
    ceiling = table.get(("", ORACLE), {}).get(HEADLINE)
    closed = gained / (ceiling - base) if ceiling is not None and ceiling > base else None
    return found | relative | {"gap_closed": closed}
