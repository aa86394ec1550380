"""What a run says while it trains: one line a step interval, and the same figures as TensorBoard files."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tensorboardX import SummaryWriter
from torch import Tensor

from models.distributed import Ranks
from models.errors import TrainingError

Log = Callable[[str], None]
_OTHERS = ("in_batch", "own")


def named_losses(heads: tuple[str, ...], values: list[float]) -> dict[str, float]:
    """The losses (H + 2,) of an objective by name; those beside the heads' only where they are on."""
    every = dict(zip((*heads, *_OTHERS), values, strict=True))
    return {f"loss_{name}": value for name, value in every.items() if value != 0 or name in heads}


def no_log(message: str) -> None:
    """Drops it."""


class Telemetry:
    """Adds up steps and reports every ``interval`` of them; rank 0 speaks, the others take part in its sums."""

    def __init__(self, name: str, heads: tuple[str, ...], steps: int, interval: int, ranks: Ranks, log: Log):
        self.name, self.heads, self.steps, self.interval = name, heads, steps, interval
        self.ranks, self.log = ranks, log
        self.writer: SummaryWriter | None = None
        self._losses: Tensor | None = None
        self._rows, self._steps, self._waited, self._seconds, self._since = 0, 0, 0.0, 0.0, time.monotonic()

    def resume(self) -> None:
        """Steps begin, or go on."""
        self._since = time.monotonic()

    def pause(self) -> None:
        """What follows is no part of any step."""
        self._seconds += time.monotonic() - self._since

    def write_to(self, directory: Path | None, done: int) -> None:
        """TensorBoard files there from now on; what an earlier run wrote after step ``done`` is hidden."""
        if directory is not None and self.ranks.first:
            self.writer = SummaryWriter(str(directory), purge_step=done)

    def step(self, done: int, losses: Tensor, rows: int, rate: float, waited: float) -> None:
        """A step ended: ``done`` so far, its losses (H + 2,), this rank's rows, seconds waited for data so far."""
        self._losses = losses if self._losses is None else self._losses + losses
        self._rows += rows
        self._steps += 1
        if done % self.interval == 0:
            self._report(done, rate, waited)

    def epoch(self, done: int, line: str, figures: dict[str, float]) -> None:
        """An epoch ended."""
        if self.ranks.first:
            self.log(line)
            self._write({f"epoch/{key}": value for key, value in figures.items()}, done)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def _report(self, done: int, rate: float, waited: float) -> None:
        assert self._losses is not None
        sums = self.ranks.sum(torch.cat([self._losses, self._losses.new_tensor([float(self._rows)])])).tolist()
        seconds = self._seconds + time.monotonic() - self._since
        means = [value / self._steps for value in sums[:-1]]
        if not all(map(math.isfinite, means)):
            raise TrainingError(f"{self.name} step {done}: the loss is {means}. Lower train.learning_rate.")
        figures = {
            **named_losses(self.heads, means),
            "learning_rate": rate,
            "rows_per_second": sums[-1] / seconds,
            "wait_share": (waited - self._waited) / seconds,
        }
        eta = (self.steps - done) * seconds / self._steps
        if self.ranks.first:
            shown = " ".join(f"{key}={value:.4g}" for key, value in figures.items())
            self.log(f"{self.name} step {done}/{self.steps} {shown} eta_seconds={eta:.0f}")
            self._write({f"train/{key}": value for key, value in figures.items()}, done)
        self._restart(waited)

    def _write(self, figures: dict[str, float], done: int) -> None:
        if self.writer is not None:
            for key, value in figures.items():
                self.writer.add_scalar(key, value, done)

    def _restart(self, waited: float) -> None:
        self._losses = None
        self._rows, self._steps, self._waited, self._seconds, self._since = 0, 0, waited, 0.0, time.monotonic()
