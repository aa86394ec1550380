"""Settings of single models: sections below ``train:``. Explanations stand under each field."""

from dataclasses import dataclass


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
        for name, least in _FIT_AT_LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more")
        if not (0 < self.tau_min <= 1 and 0 < self.tau_share <= 1):
            raise ValueError("tau_min and tau_share must lie in (0, 1]")


# One meta query is no choice.
_FIT_AT_LEAST = {"meta_queries": 2, "user_heads": 1, "item_heads": 1, "scorer_width": 1, "attention_hidden": 1}
