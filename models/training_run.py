"""The training loop: shuffled requests, judged on the validation split after every epoch, kept in checkpoints."""

import time
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from models.checkpoint import CheckpointFile, Progress
from models.config import TrainConfig
from models.contract import Batch, Ranker
from models.dataset import Rows
from models.distributed import Ranks
from models.errors import TrainingError
from models.loader import FeatureTables, RequestLoader
from models.objective import Objective
from models.optimizer import learning_rate, optimizer_of, set_learning_rate
from models.prefetch import Prefetch
from models.scorers import Track
from models.telemetry import Log, Telemetry, named_losses
from models.validation import validate, validation_loader

_ALL_RANKS = 2**32 - 1


class TrainingRun:
    """One training run: what it works on, how far it is, and its clocks."""

    def __init__(
        self,
        name: str,
        config: TrainConfig,
        model: Ranker,
        tables: FeatureTables,
        rows: Rows,
        ranks: Ranks,
        checkpoint: CheckpointFile | None,
        log: Log,
    ):
        self.name, self.config, self.model, self.ranks, self.log = name, config, model, ranks, log
        self.loader = RequestLoader(tables, rows, config.batch_requests, ranks.rank, ranks.count)
        self.validation = validation_loader(tables, config.early_stopping_metric, log)
        self.objective = Objective(model, config, ranks).to(ranks.device)
        self.optimizer = optimizer_of(self.objective, config)
        self.checkpoint = checkpoint
        self.steps = config.epochs * len(self.loader)
        self.telemetry = Telemetry(name, tables.spec.heads, self.steps, config.log_steps, ranks, log)
        self.progress = self._restored() or Progress(torch.zeros(len(self.objective.weights), device=ranks.device))
        self.forward = _wrapped(self.objective, config, ranks)
        self.seconds = self.training_seconds = self.waited = 0.0
        self.rows_seen = 0

    @property
    def done(self) -> int:
        """Steps since the very start."""
        return (self.progress.epoch - 1) * len(self.loader) + self.progress.step

    def fit(self, track: Track) -> None:
        """Train until the last epoch, or until validation gets no better; the model then has its best weights."""
        began = time.monotonic()
        progress, config = self.progress, self.config
        try:
            while progress.epoch <= config.epochs and not self._out_of_patience():
                self._epoch(track)
        finally:
            self.telemetry.close()
        self.model.load_state_dict(progress.best.weights)
        self.model.eval()
        self.seconds = time.monotonic() - began

    def _out_of_patience(self) -> bool:
        best = self.progress.best.epoch
        return best > 0 and self.progress.epoch - 1 - best >= self.config.patience

    def _epoch(self, track: Track) -> None:
        progress, loader, start = self.progress, self.loader, time.monotonic()
        order = loader.order(self.config.seed, progress.epoch)
        pinned = self.ranks.device.type == "cuda"
        batches = Prefetch(
            lambda step: loader.step(order, step).pin() if pinned else loader.step(order, step),
            range(progress.step, len(loader)),
            self.config.workers,
        )
        rows, waited = 0, self.waited
        self.objective.train()
        self.telemetry.resume()
        for batch in track(batches, f"{self.name} epoch {progress.epoch}/{self.config.epochs}", len(batches)):
            rate = learning_rate(self.config, self.done, self.steps)
            losses = self._step(batch, rate)
            progress.losses += losses
            progress.step += 1
            rows += len(batch.rows)
            self.waited = waited + batches.waited
            self.telemetry.step(self.done, losses, len(batch.rows), rate, self.waited)
            if progress.step % self.config.checkpoint_steps == 0 and progress.step < len(loader):
                self._save()
        seconds = time.monotonic() - start
        self.telemetry.pause()
        self.training_seconds += seconds
        everyone = int(self.ranks.sum(torch.tensor(rows, device=self.ranks.device)))
        self.rows_seen += everyone
        self._end_epoch(batch, everyone, seconds)

    def _step(self, batch: Batch, rate: float) -> Tensor:
        """One step of the optimizer; returns this rank's losses (H + 2,)."""
        torch.manual_seed(_seed_of(self.config.seed, self.done, _ALL_RANKS))
        self.model.at_step(self.done / self.steps)
        torch.manual_seed(_seed_of(self.config.seed, self.done, self.ranks.rank))
        losses: Tensor = self.forward(batch.to(self.ranks.device))
        set_learning_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        # Ranks average their gradients, but each has computed its part of a sum.
        (losses @ self.objective.weights * self.ranks.count).backward()
        nn.utils.clip_grad_norm_(self.objective.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        return losses.detach()

    def _end_epoch(self, last: Batch, rows: int, seconds: float) -> None:
        progress, config, heads = self.progress, self.config, self.loader.tables.spec.heads
        means = self.ranks.sum(progress.losses) / len(self.loader)
        total = float(means @ self.objective.weights)
        if not np.isfinite(total):
            raise TrainingError(
                f"{self.name} epoch {progress.epoch}: the loss is {total}. Lower train.learning_rate and train again."
            )
        if progress.epoch == config.epochs:
            self.model.at_step(1.0)
        found = self.ranks.from_first(self._validated() if self.ranks.first else {})
        watched = self.ranks.from_first(self._watched(last) if self.ranks.first else {})
        parts = named_losses(heads, means.tolist())
        rate = learning_rate(config, self.done - 1, self.steps)
        point = {"epoch": progress.epoch, "loss": total, **parts, "learning_rate": rate, **watched, **_prefixed(found)}
        progress.curve.append(point)
        if self.model.settled():
            progress.best.offer(progress.epoch, found, config.early_stopping_metric, self.model)
        self.telemetry.epoch(self.done, _line(self.name, config.epochs, point, rows / seconds, seconds), point)
        progress.epoch, progress.step = progress.epoch + 1, 0
        progress.losses = torch.zeros_like(progress.losses)
        self._save()

    def _validated(self) -> dict[str, float]:
        return validate(self.model, self.validation) if self.validation else {}

    def _watched(self, last: Batch) -> dict[str, float]:
        self.model.eval()
        with torch.no_grad():
            return self.model.watched(last.to(self.ranks.device))

    def _save(self) -> None:
        if self.checkpoint:
            # The sum of losses is of all ranks, so that any number of ranks may go on from here.
            mine = self.progress.losses
            self.progress.losses = self.ranks.sum(mine)
            if self.ranks.first:
                self.checkpoint.save(self.progress, self.objective, self.optimizer)
            self.progress.losses = mine

    def _restored(self) -> Progress | None:
        if self.checkpoint is None:
            return None
        progress = self.checkpoint.restore(self.objective, self.optimizer, self.ranks.device)
        if progress is None:
            return None
        if self.ranks.first:
            self.log(f"{self.name}: going on after epoch {progress.epoch - 1}, step {progress.step}")
        else:
            progress.losses = torch.zeros_like(progress.losses)
        return progress


def _wrapped(objective: Objective, config: TrainConfig, ranks: Ranks) -> nn.Module:
    module: nn.Module = objective
    if ranks.count > 1:
        module = nn.parallel.DistributedDataParallel(objective)
    if config.compile:
        module = cast(nn.Module, torch.compile(module, dynamic=True))
    return module


def _seed_of(seed: int, step: int, rank: int) -> int:
    """Of a step's dropout; ``_ALL_RANKS``: of what all ranks draw alike."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _prefixed(found: dict[str, float]) -> dict[str, float]:
    return {f"validation_{name}": value for name, value in found.items()}


def _line(name: str, epochs: int, point: dict[str, float], rows_per_second: float, seconds: float) -> str:
    numbers = " ".join(f"{key}={value:.4g}" for key, value in point.items() if key != "epoch")
    return f"{name} epoch {point['epoch']:.0f}/{epochs} {numbers} rows/s={rows_per_second:.0f} seconds={seconds:.1f}"
