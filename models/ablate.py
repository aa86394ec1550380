"""Training a ladder over several seeds.

- Choices (the best variant of a step, whether an optional step stays) are by the validation split alone, by the mean of
  ``train.early_stopping_metric`` over the seeds. The test split is only looked at.
- What a rung and seed gave is kept in a file named after all that it follows from: the configuration, the cross
  features, the export's manifest and the sources of this package. A ladder that was stopped goes on after the last one.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from etl.contract.errors import UsageError
from etl.contract.publish import published_file
from etl.contract.settings import digest
from models import metrics
from models.ablation import METRICS, SPLITS, Measured, RungResult, Values, summary
from models.bm25 import Bm25Scorer
from models.code_version import source_digest
from models.config import TrainConfig
from models.cross_view import CrossView
from models.dataset import Export
from models.evaluate import ORACLE, checked_scores, request_values
from models.ladder import Setup, Step, adds_nothing, bottom
from models.scorers import OracleScorer, Scorer, SharedTables, TowerScorer, Track, no_track
from models.telemetry import Log, no_log
from models.train import train


def ablate(
    config: TrainConfig,
    export: Export,
    steps: Sequence[Step],
    seeds: int,
    kept: Path,
    track: Track = no_track,
    log: Log = no_log,
    fresh: bool = False,
) -> dict[str, Any]:
    """Climb the ladder from the two-tower; returns ``models.ablation.summary`` and the seeds, plain JSON values.

    Seeds are ``config.seed`` and those after it. ``kept`` is the folder of finished trainings; with ``fresh`` what it
    holds is not used. Raises UsageError for fewer than one seed, ExportError for an export without a validation or
    test split.
    """
    if seeds < 1:
        raise UsageError(f"--seeds is {seeds}: give the trainings of each rung, 1 or more (the spread needs 3)")
    used = range(config.seed, config.seed + seeds)
    bench = Bench(export, kept, track, log, fresh)
    rungs = climb(bottom(config), steps, used, bench, log)
    references = {"bm25": bench.values("bm25", Bm25Scorer(), export)}
    if export.manifest.has_oracle:
        references[ORACLE] = bench.values(ORACLE, OracleScorer(), export)
    return {"seeds": list(used)} | summary(rungs, references, config.seed)


def climb(setup: Setup, steps: Sequence[Step], seeds: Sequence[int], bench: "Bench", log: Log) -> list[RungResult]:
    """All rungs in the order in which they were trained."""
    standing = replace(bench.rung(setup.model, None, setup, seeds), carried_on=True)
    rungs = [standing]
    for step in steps:
        tried = []
        for variant in step.variants:
            changed = variant.on(setup)
            if adds_nothing(changed, setup, bench.export.manifest):
                log(f"{variant.name}: nothing of it in this export, left out")
                continue
            tried.append((bench.rung(variant.name, standing.name, changed, seeds), changed))
        if tried:
            best, changed = max(tried, key=lambda each: each[0].quality)
            rungs += [rung for rung, _ in tried]
            if not step.optional or best.quality > standing.quality:
                rungs[rungs.index(best)] = standing = replace(best, carried_on=True)
                setup = changed
    return rungs


class Bench:
    """Trains and measures setups on one export, whose tables they share, or finds what was measured before."""

    def __init__(self, export: Export, kept: Path, track: Track, log: Log, fresh: bool):
        self.export, self.kept, self.track, self.log, self.fresh = export, kept, track, log, fresh
        for split in SPLITS:
            export.split(split)  # missing ones are an error before hours of training, not after
        self.shared, self.code = SharedTables(), source_digest()

    def rung(self, name: str, before: str | None, setup: Setup, seeds: Sequence[int]) -> RungResult:
        view = CrossView(self.export, setup.cross)
        runs = [self.run(name, replace(setup, config=replace(setup.config, seed=seed)), view) for seed in seeds]
        return RungResult(name, before, False, setup.described(len(view.manifest.cross)), runs)

    def run(self, name: str, setup: Setup, view: Export) -> Measured:
        path = self._file(setup, view)
        label = f"{name}, seed {setup.config.seed}"
        found = None if self.fresh else read_measured(path)
        if found is not None:
            self.log(f"{label}: measured before")
        else:
            found = self._measured(setup, view)
            write_measured(found, path)
        self.log(f"{label}: validation {setup.config.early_stopping_metric} {found.quality:.4f}")
        return found

    def _measured(self, setup: Setup, view: Export) -> Measured:
        result = train(setup.config, view, setup.model, self.track, shared=self.shared)
        values = self.values(setup.model, TowerScorer(result.model, result.spec, self.shared), view)
        quality = result.metrics[setup.config.early_stopping_metric]
        return Measured(values, quality, result.best_epoch, result.seconds)

    def values(self, name: str, scorer: Scorer, view: Export) -> Values:
        """What a scorer's order of each request is worth, on both splits."""
        found: dict[str, dict[str, metrics.Floats]] = {}
        for split in SPLITS:
            rows = view.split(split)
            of = request_values(checked_scores(name, scorer, view, rows, self.track), rows)
            found[split] = {metric: of[metric] for metric in METRICS}
        return found

    def _file(self, setup: Setup, view: Export) -> Path:
        identity = {
            "model": setup.model,
            "config": setup.config.identity(),
            "cross": view.manifest.cross,
            "backoff": setup.cross.backoff,
            "manifest": self.export.manifest.digest(),
            "code": self.code,
        }
        return self.kept / f"{digest(identity)}.npz"


def write_measured(measured: Measured, path: Path) -> None:
    """Keep what a training came to."""
    arrays = {f"{split}/{metric}": value for split, of in measured.values.items() for metric, value in of.items()}
    figures = np.array([measured.quality, measured.best_epoch, measured.seconds])
    with published_file(path) as aside, aside.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, figures=figures, **arrays)


def read_measured(path: Path) -> Measured | None:
    """What was kept; None where nothing was, or where the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as found:
            quality, best_epoch, seconds = found["figures"].tolist()
            values = {split: {metric: found[f"{split}/{metric}"] for metric in METRICS} for split in SPLITS}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
    return Measured(values, quality, int(best_epoch), seconds)
