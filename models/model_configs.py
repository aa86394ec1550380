"""Settings of single models, sections of ``train:``. Explanations stand under each field."""

from dataclasses import dataclass

MEAN, POOLING, ATTENTION, BOTH = "mean", "pooling", "attention", "both"
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
    """How the user sequence is summed up: mean, pooling (learned weights), attention (by the query), or both."""
    query_items: bool = True
    """Whether the query tower sees the items that its query did best with."""

    def __post_init__(self) -> None:
        if self.sequence not in SEQUENCE_MODES:
            raise ValueError(f"sequence: known are {', '.join(SEQUENCE_MODES)}")
        if self.blocks < 0:
            raise ValueError("blocks must be 0 or more")
        if self.block_width < 1:
            raise ValueError("block_width must be 1 or more")
        if not 0 < self.mask_ratio <= 1:
            raise ValueError("mask_ratio must lie in (0, 1]")
