"""Training a model by name on an export; the loop itself is models.training_run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from etl.contract.manifest import TRAIN, Manifest
from etl.contract.settings import digest
from models.checkpoint import CheckpointFile
from models.config import TrainConfig
from models.contract import Ranker
from models.dataset import Export, Rows
from models.distributed import Ranks, device_of
from models.errors import ExportError
from models.features import FeatureSpec
from models.registry import get_model
from models.scaling import CrossScaling
from models.scorers import SharedTables, Track, no_track
from models.telemetry import Log, no_log
from models.towers import NumericStatistics
from models.training_run import TrainingRun

# Rows that are looked at in one piece: a split may be larger than memory.
_SAMPLED_ROWS = 1_000_000


@dataclass(frozen=True)
class TrainResult:
    """A trained model and how it came about. Everything but the three timings repeats exactly on the same machine."""

    name: str
    model: Ranker
    config: TrainConfig
    spec: FeatureSpec
    scaling: CrossScaling
    curve: list[dict[str, float]]
    """Per epoch: epoch, loss (and loss_<head>), learning_rate and the validation metrics (validation_<metric>)."""
    best_epoch: int
    metrics: dict[str, float]
    """Of the best epoch on the validation split; empty without one."""
    seconds: float = 0.0
    rows_per_second: float = 0.0
    wait_share: float = 0.0
    """Share of the training time that steps waited for data."""


def train(
    config: TrainConfig,
    export: Export,
    model_name: str,
    track: Track = no_track,
    *,
    log: Log = no_log,
    ranks: Ranks | None = None,
    checkpoint: Path | None = None,
    events: Path | None = None,
    shared: SharedTables | None = None,
) -> TrainResult:
    """Train a registered model on the export's training split; the weights of its best epoch are kept.

    With ``checkpoint`` the run's state is kept in that file, and a run of the same model, configuration and data goes
    on from there. ``events`` is a folder for TensorBoard files; ``shared`` holds feature tables for further trainings.
    Each of several ``ranks`` calls this alike.

    Raises UnknownNameError for the name, ExportError for an export that cannot be learned from, TrainingError when the
    loss is no longer a number, CheckpointError for a checkpoint that cannot be read.
    """
    constructor = get_model(model_name)
    ranks = ranks or Ranks(device=device_of(config.device))
    spec = FeatureSpec.of(export.manifest, export.items.dense.shape[1], config)
    rows = export.split(TRAIN)
    rates = _base_rates(rows, spec)
    tables = (shared or SharedTables()).of(spec, export)
    scaling = CrossScaling.fit(rows.cross[_sampled(len(rows))], spec.cross)
    numerics = NumericStatistics.fit(tables.items.numerics[torch.from_numpy(np.unique(rows.item).astype(np.int64))])
    # Only the device that is trained on: others belong to other processes.
    with torch.random.fork_rng(devices=[ranks.device] if ranks.device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        model = constructor(spec, config, scaling, numerics).to(ranks.device)
        model.start_at(rates.to(ranks.device))
        state = CheckpointFile(checkpoint, _identity(config, model_name, export.manifest)) if checkpoint else None
        run = TrainingRun(model_name, config, model, tables, rows, ranks, state, log)
        run.telemetry.write_to(events, run.done)
        run.fit(track)
    return TrainResult(
        model_name,
        model,
        config,
        spec,
        scaling,
        run.progress.curve,
        run.progress.best.epoch,
        run.progress.best.metrics,
        seconds=run.seconds,
        rows_per_second=run.rows_seen / max(run.training_seconds, 1e-9),
        wait_share=run.waited / max(run.training_seconds, 1e-9),
    )


def _identity(config: TrainConfig, name: str, manifest: Manifest) -> str:
    return digest({"model": name, "config": config.identity(), "manifest": manifest.digest()})


def _sampled(rows: int) -> npt.NDArray[np.int64] | slice:
    """All rows, or so many of them, chosen alike in every run, that statistics of them cost one pass in memory."""
    if rows <= _SAMPLED_ROWS:
        return slice(None)
    return np.sort(np.random.Generator(np.random.Philox(key=7)).choice(rows, _SAMPLED_ROWS, replace=False))


def _base_rates(rows: Rows, spec: FeatureSpec) -> Tensor:
    """Weighted share of positives by head (H,)."""
    positive, total = np.zeros(len(spec.heads)), 0.0
    for start in range(0, len(rows), _SAMPLED_ROWS):
        weight = rows.weight[start : start + _SAMPLED_ROWS].astype(np.float64)
        if not np.isfinite(weight).all() or weight.min() < 0:
            raise ExportError("training rows need finite weights of 0 or more. Export again.")
        positive += weight @ rows.labels[start : start + _SAMPLED_ROWS]
        total += weight.sum()
    if total <= 0:
        raise ExportError("training rows need weights with a positive sum. Export again.")
    rates = positive / total
    for name, rate in zip(spec.heads, rates, strict=True):
        if not 0 < rate < 1:
            raise ExportError(
                f"training rows of head '{name}' are all {'positive' if rate >= 1 else 'negative'}: nothing can be "
                f"learned. Export a longer range, or check the actions of the head."
            )
    return torch.from_numpy(rates).float()
