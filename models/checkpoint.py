"""The state of a training run between two steps, in one file that is written aside and renamed.

Everything else of a run is a function of its position: the order of requests of (seed, epoch), dropout of (seed, step,
rank), the learning rate of the step. So a run that goes on from here ends with the weights of one never stopped.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from etl.contract.publish import published_file
from models.errors import CheckpointError


@dataclass
class Best:
    """The best epoch so far, 0 before any could be judged; without a validation split each is better than the last."""

    epoch: int = 0
    quality: float = -1.0
    metrics: dict[str, float] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)

    def offer(self, epoch: int, found: dict[str, float], metric: str, model: nn.Module) -> None:
        quality = found[metric] if found else float(epoch)
        if quality > self.quality:
            self.epoch, self.quality, self.metrics = epoch, quality, found
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


@dataclass
class Progress:
    """How far a run has come: ``step`` steps of ``epoch`` are done, and ``losses`` (H + 2,) is their sum."""

    losses: Tensor
    epoch: int = 1
    step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    best: Best = field(default_factory=Best)


class CheckpointFile:
    """Where a run keeps its state. ``identity`` says what the run learns from what: another run's state is not used."""

    def __init__(self, path: Path, identity: str):
        self.path, self.identity = path, identity

    def save(self, progress: Progress, objective: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        state = {
            "identity": self.identity,
            "progress": {name: getattr(progress, name) for name in ("losses", "epoch", "step", "curve")},
            "best": asdict(progress.best),
            "objective": objective.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        with published_file(self.path) as aside:
            torch.save(state, aside)

    def restore(self, objective: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> Progress | None:
        """Put the saved state into place; None if there is none of this run. CheckpointError if it cannot be read."""
        if not self.path.is_file():
            return None
        state = self._read(device)
        if state.get("identity") != self.identity:
            return None
        try:
            objective.load_state_dict(state["objective"])
            optimizer.load_state_dict(state["optimizer"])
            return Progress(**state["progress"], best=Best(**state["best"]))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(str(self.path), str(error)) from error

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _read(self, device: torch.device) -> dict[str, Any]:
        try:
            # weights_only: the file may hold tensors and plain values, and executes nothing.
            state: dict[str, Any] = torch.load(self.path, map_location=device, weights_only=True)
        except (OSError, EOFError, KeyError, RuntimeError, ValueError, UnpicklingError) as error:
            raise CheckpointError(str(self.path), next(iter(str(error).splitlines()), "")) from error
        return state
