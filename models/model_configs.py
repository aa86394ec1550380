"""Settings of single models: sections ``train.<model>`` of ``prerank.yaml``. Explanations stand under each field."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class IntTowerConfig:
    heads: int = 2
    """Heads of each query layer, and as many of the item."""
    head_dim: int = 64
    """Width of each head; the item side holds heads x head_dim numbers."""
    cir_weight: float = 0.0
    """Weight of the contrastive regularisation (CIR); 0 leaves it out, as the released code does."""
    cir_temperature: float = 0.07
    """What CIR divides cosines by."""

    def __post_init__(self) -> None:
        _at_least(self, 1, "heads", "head_dim")
        _at_least(self, 0, "cir_weight")
        if self.cir_temperature <= 0:
            raise ValueError("cir_temperature must be above 0")


@dataclass(frozen=True)
class HitConfig:
    heads: int = 2
    """Heads of each side."""
    head_dim: int = 16
    """Width of each head; the item side holds heads x head_dim numbers."""
    mimic_weight: float = 0.1
    """Weight of the loss that trains the generators; nothing else trains them."""

    def __post_init__(self) -> None:
        _at_least(self, 1, "heads", "head_dim")
        if self.mimic_weight <= 0:
            raise ValueError("mimic_weight must be above 0")


@dataclass(frozen=True)
class DatConfig:
    mimic_weight: float = 0.5
    """Weight, on each side, of the loss that draws augmented vectors to the other side's vectors."""
    alignment_weight: float = 0.0
    """Weight of the category alignment loss, over the first item category; 0 leaves it out."""

    def __post_init__(self) -> None:
        _at_least(self, 0, "mimic_weight", "alignment_weight")


def _at_least(config: Any, least: float, *names: str) -> None:
    for name in names:
        if getattr(config, name) < least:
            raise ValueError(f"{name} must be {least} or more")
