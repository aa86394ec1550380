"""Settings of single models: sections ``train.<model>`` of ``prerank.yaml``. Explanations stand under each field."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ColdConfig:
    field_dim: int = 32
    """Width of each field's embedding."""
    hidden: tuple[int, ...] = (256, 128)
    """Layers over a pair; the first is the one that is split, its width is what is stored per item."""

    def __post_init__(self) -> None:
        _at_least(self, 1, "field_dim")
        _require_layers(self.hidden)


@dataclass(frozen=True)
class FscdConfig:
    field_dim: int = 32
    """Width of each field's embedding."""
    hidden: tuple[int, ...] = (256, 128)
    """Layers over a pair; the first is the one that is split, its width is what is stored per item."""
    kept_share: float = 0.5
    """Share of all fields that is kept, those with the highest keep probability."""
    selection_share: float = 0.5
    """Share of the steps in which fields are selected; in the others the kept ones are trained on."""
    complexity_weight: float = 1.0
    """Lambda: how much a field's complexity counts against it."""
    online_cost: float = 1.0
    """w1: of what a field reads per pair, relative to the most expensive field."""
    cardinality_cost: float = 0.1
    """w2: of the logarithm of a field's embedding rows, likewise."""
    width_cost: float = 0.1
    """w3: of a field's width, likewise."""
    temperature: float = 0.1
    """Of the concrete relaxation: near 0, a field is in or out."""
    gate_speed: float = 10.0
    """How much faster keep probabilities move than weights do."""

    def __post_init__(self) -> None:
        _at_least(self, 1, "field_dim")
        _require_layers(self.hidden)
        if not 0 < self.kept_share <= 1:
            raise ValueError("kept_share must lie in (0, 1]")
        if not 0 <= self.selection_share <= 1:
            raise ValueError("selection_share must lie in [0, 1]")
        _at_least(self, 0, "complexity_weight", "online_cost", "cardinality_cost", "width_cost")
        for name in ("temperature", "gate_speed"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")


@dataclass(frozen=True)
class RankTowerConfig:
    field_dim: int = 32
    """Width of each field's embedding."""
    parts: int = 2
    """K: latent vectors per side, each of width train.dim / K."""
    fine_weight: float = 0.3
    """Weight of the fine-grained ranking loss, a softmax over each request's items; 0 leaves it out."""

    def __post_init__(self) -> None:
        _at_least(self, 1, "field_dim", "parts")
        _at_least(self, 0, "fine_weight")


def _require_layers(hidden: tuple[int, ...]) -> None:
    if not hidden or min(hidden) < 1:
        raise ValueError("hidden must name one layer or more, each of width 1 or more")


def _at_least(config: Any, least: float, *names: str) -> None:
    for name in names:
        if getattr(config, name) < least:
            raise ValueError(f"{name} must be {least} or more")
