"""Training: a straight loop over shuffled requests, judged on the validation split after every epoch."""

import copy
import logging
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from etl.contract.manifest import TRAIN, VALIDATION
from models import metrics
from models.config import TrainConfig
from models.contract import Ranker
from models.dataset import Export, Rows
from models.errors import ExportError, TrainingError
from models.features import FeatureSpec
from models.loader import FeatureTables, RequestLoader
from models.losses import weighted_bce
from models.registry import get_model
from models.scaling import CrossScaling
from models.scorers import SCORING_REQUESTS, Track, no_track, score_split
from models.towers import NumericStatistics

_LOG = logging.getLogger(__name__)
_WARM_UP_SHARE = 0.05
_LAST_LEARNING_RATE = 0.1


@dataclass(frozen=True)
class TrainResult:
    """A trained model and how it came about. Everything but the two timings repeats exactly on the same machine."""

    name: str
    model: Ranker
    config: TrainConfig
    spec: FeatureSpec
    scaling: CrossScaling
    curve: list[dict[str, float]]
    """Per epoch: epoch, loss, learning_rate and the validation metrics (validation_<metric>)."""
    best_epoch: int
    metrics: dict[str, float]
    """Of the best epoch on the validation split; empty without one."""
    seconds: float = 0.0
    rows_per_second: float = 0.0


@dataclass
class _Best:
    """The best epoch so far; without a validation split every epoch counts as better than the last."""

    epoch: int = 0
    quality: float = -1.0
    metrics: dict[str, float] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)

    def offer(self, epoch: int, found: dict[str, float], metric: str, model: nn.Module) -> None:
        quality = found[metric] if found else float(epoch)
        if quality > self.quality:
            self.epoch, self.quality, self.metrics = epoch, quality, found
            self.weights = copy.deepcopy(model.state_dict())


def train(config: TrainConfig, export: Export, model_name: str, track: Track = no_track) -> TrainResult:
    """Train a registered model on the export's training split; the weights of its best epoch are kept.

    Raises UnknownNameError for the name, ExportError for an export that cannot be learned from, TrainingError when the
    loss is no longer a number.
    """
    constructor = get_model(model_name)
    spec = FeatureSpec.of(export.manifest, export.items.dense.shape[1], config)
    rows = export.split(TRAIN)
    rates = _base_rates(rows, spec)
    tables = FeatureTables(spec, export)
    scaling = CrossScaling.fit(rows.cross, spec.cross)
    numerics = NumericStatistics.fit(tables.items.numerics[torch.from_numpy(np.unique(rows.item).astype(np.int64))])
    device = _device(config.device)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = constructor(spec, config, scaling, numerics).to(device)
        model.start_at(rates.to(device))
        return _fit(config, model_name, model, tables, rows, scaling, track)


def _fit(
    config: TrainConfig,
    name: str,
    model: Ranker,
    tables: FeatureTables,
    rows: Rows,
    scaling: CrossScaling,
    track: Track,
) -> TrainResult:
    loader = RequestLoader(tables, rows, config.batch_requests)
    validation = _validation_loader(tables)
    optimizer = _optimizer(model, config)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _learning_rate_share(config.epochs * len(loader)))
    best, curve = _Best(), []
    began, training = time.monotonic(), 0.0
    for epoch in range(1, config.epochs + 1):
        start = time.monotonic()
        loss = _epoch(model, loader, optimizer, schedule, config, epoch, f"{name} epoch {epoch}/{config.epochs}", track)
        seconds = time.monotonic() - start
        training += seconds
        found = validate(model, validation) if validation else {}
        rate = float(optimizer.param_groups[0]["lr"])
        curve.append({"epoch": epoch, "loss": loss, "learning_rate": rate, **_prefixed(found)})
        best.offer(epoch, found, config.early_stopping_metric, model)
        _LOG.info("%s", _line(name, config.epochs, curve[-1], len(rows) / seconds, seconds))
        if epoch - best.epoch >= config.patience:
            break
    model.load_state_dict(best.weights)
    model.eval()
    return TrainResult(
        name,
        model,
        config,
        tables.spec,
        scaling,
        curve,
        best.epoch,
        best.metrics,
        seconds=time.monotonic() - began,
        rows_per_second=len(rows) * len(curve) / training,
    )


def _epoch(
    model: Ranker,
    loader: RequestLoader,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    config: TrainConfig,
    epoch: int,
    description: str,
    track: Track,
) -> float:
    """One pass; the mean loss of its steps."""
    device = model.head_weights.device
    total = torch.zeros((), device=device)
    model.train()
    for loaded in track(loader.shuffled(config.seed, epoch), description, len(loader)):
        batch = loaded.to(device)
        loss = weighted_bce(model(batch), batch.labels, batch.weight, model.head_weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        optimizer.step()
        schedule.step()
        total += loss.detach()
    mean = float(total) / len(loader)
    if not np.isfinite(mean):
        raise TrainingError(f"{description}: the loss is {mean}. Lower train.learning_rate and train again.")
    return mean


def validate(model: Ranker, loader: RequestLoader) -> dict[str, float]:
    """Mean per-request metrics, and the first head's log loss, over the loader's split."""
    rows = loader.rows
    scores = score_split(model, loader, "validation")
    assert scores.logits is not None
    label = rows.labels[:, 0]
    ties = metrics.tie_keys(rows.request[rows.request_of_row()], rows.item)
    found = metrics.request_metrics(rows.starts, scores.ranking, label, ties)
    means = {name: float(np.nanmean(values)) for name, values in found.items() if not np.isnan(values).all()}
    return means | {"logloss": metrics.log_loss(scores.logits[:, 0], label)}


def _validation_loader(tables: FeatureTables) -> RequestLoader | None:
    if not tables.export.has_split(VALIDATION):
        _LOG.warning("the export has no validation split: training runs all epochs and keeps the last")
        return None
    rows = tables.export.split(VALIDATION)
    label = rows.labels[:, 0] > 0
    if not label.any() or label.all():
        raise ExportError(
            f"the validation split of {tables.export.directory} holds only one kind of label for head "
            f"'{tables.spec.heads[0]}': no epoch can be judged. Raise export.validation_days, or set it to 0."
        )
    return RequestLoader(tables, rows, SCORING_REQUESTS)


def _base_rates(rows: Rows, spec: FeatureSpec) -> Tensor:
    weight = rows.weight.astype(np.float64)
    if not np.isfinite(weight).all() or weight.min() < 0 or weight.sum() <= 0:
        raise ExportError("training rows need finite weights of 0 or more, and a positive sum. Export again.")
    rates = (rows.labels * weight[:, None]).sum(axis=0) / weight.sum()
    for name, rate in zip(spec.heads, rates, strict=True):
        if not 0 < rate < 1:
            raise ExportError(
                f"training rows of head '{name}' are all {'positive' if rate >= 1 else 'negative'}: nothing can be "
                f"learned. Export a longer range, or check the actions of the head."
            )
    return torch.from_numpy(rates).float()


def _optimizer(model: Ranker, config: TrainConfig) -> torch.optim.Optimizer:
    fusion: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        group = fusion if name.startswith("fusion_layer.") else decayed if parameter.ndim > 1 else plain
        group.append(parameter)
    rate = config.learning_rate
    groups: list[dict[str, Any]] = [
        {"params": decayed, "lr": rate, "weight_decay": config.weight_decay},
        {"params": plain, "lr": rate, "weight_decay": 0.0},
        {"params": fusion, "lr": rate * config.fusion_learning_rate_factor, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)


def _learning_rate_share(steps: int) -> Any:
    """Multiplier by step: linear warm-up, then a linear fall."""
    warm = max(1, round(steps * _WARM_UP_SHARE))

    def share(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        done = (step - warm) / max(1, steps - warm)
        return 1.0 - (1.0 - _LAST_LEARNING_RATE) * min(done, 1.0)

    return share


def _device(wanted: str) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise TrainingError("train.device is cuda, but torch sees none. Set train.device=cpu or auto.")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def _prefixed(found: dict[str, float]) -> dict[str, float]:
    return {f"validation_{name}": value for name, value in found.items()}


def _line(name: str, epochs: int, point: dict[str, float], rows_per_second: float, seconds: float) -> str:
    numbers = " ".join(f"{key}={value:.4g}" for key, value in point.items() if key != "epoch")
    return f"{name} epoch {point['epoch']:.0f}/{epochs} {numbers} rows/s={rows_per_second:.0f} seconds={seconds:.1f}"
