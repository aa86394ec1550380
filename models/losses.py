"""What training minimises, per head."""

import torch
from torch import Tensor
from torch.nn import functional

from models.config import FOCAL


def per_head(
    kind: str, logits: Tensor, labels: Tensor, weight: Tensor, total_weight: Tensor, focal_gamma: float = 2.0
) -> Tensor:
    """sum_b w_b l(logit_bh, y_bh) / W by head (H,), of logits and labels (P, H), row weights (P,) and W ().

    l is binary cross-entropy, or with ``kind`` focal (1 - p_t)^gamma times it, p_t = exp(-bce) (InteractRank's public
    code, gamma 2). That code divides by the number of rows; by the weights' sum W, the size of a step is independent of
    their unit. W is of the whole step, of which these rows may be one rank's part.
    """
    bce = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")  # (P, H)
    if kind == FOCAL:
        bce = (1.0 - torch.exp(-bce)).clamp(min=1e-12) ** focal_gamma * bce
    return (bce * weight.unsqueeze(1)).sum(0) / total_weight.clamp(min=1e-12)
