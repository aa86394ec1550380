"""What training minimises."""

from torch import Tensor
from torch.nn import functional


def weighted_bce(logits: Tensor, labels: Tensor, weight: Tensor, head_weights: Tensor) -> Tensor:
    """sum_h a_h * (sum_b w_b bce_bh / sum_b w_b) of logits and labels (P, H), row weights (P,), head weights (H,).

    The public code divides by the number of rows; by the weights, the size of a step is independent of their unit.
    """
    per_pair = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none") @ head_weights  # (P,)
    return (per_pair * weight).sum() / weight.sum().clamp(min=1e-12)
