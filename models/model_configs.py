"""Settings of single models: sections ``train.<model>`` of ``prerank.yaml``. Explanations stand under each field."""

from dataclasses import dataclass
from typing import Any

NONE, MEAN, POOLING, ATTENTION, BOTH = "none", "mean", "pooling", "attention", "both"
SEQUENCE_MODES = (MEAN, POOLING, ATTENTION, BOTH)


@dataclass(frozen=True)
class InteractRankConfig:
    blocks: int = 3
    """Parallel mask blocks of each tower; 0 leaves MaskNet out."""
    block_width: int = 64
    """Width of each block's output (the public code has 2048)."""
    mask_ratio: float = 0.1
    """Width of a mask's bottleneck as a share of the tower's input."""
    sequence: str = BOTH
    """How the user sequence is summed up: mean, pooling (learned weights), attention (by the query), both; none."""
    query_items: bool = True
    """Whether the query tower sees the items that its query did best with."""

    def __post_init__(self) -> None:
        if self.sequence not in (known := (NONE, *SEQUENCE_MODES)):
            raise ValueError(f"sequence: known are {', '.join(known)}")
        _at_least(self, 0, "blocks")
        _at_least(self, 1, "block_width")
        if not 0 < self.mask_ratio <= 1:
            raise ValueError("mask_ratio must lie in (0, 1]")


@dataclass(frozen=True)
class FitConfig:
    meta_queries: int = 8
    """N: clusters of items, each with a learned query of its own; the user tower runs once per cluster."""
    user_heads: int = 4
    """H_u: vectors of the user side per meta query."""
    item_heads: int = 4
    """H_v: vectors that the item side is cut into; must divide train.dim."""
    scorer_width: int = 8
    """o: outputs of the row-wise and of the column-wise layer over the H_u x H_v similarities."""
    attention_hidden: int = 16
    """Hidden width of the attention of a meta query to the user's history."""
    tau_min: float = 0.001
    """Temperature at which an item picks its meta query at the end; it starts at 1."""
    tau_share: float = 0.75
    """Share of all training steps after which the temperature has fallen to tau_min."""

    def __post_init__(self) -> None:
        # One meta query is no choice.
        _at_least(self, 2, "meta_queries")
        _at_least(self, 1, "user_heads", "item_heads", "scorer_width", "attention_hidden")
        if not (0 < self.tau_min <= 1 and 0 < self.tau_share <= 1):
            raise ValueError("tau_min and tau_share must lie in (0, 1]")


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
