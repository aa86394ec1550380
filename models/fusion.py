"""Linear late fusion (InteractRank 1.4): a positive weight on the dot product, one weight per scaled cross feature.

logit_h = w_0 (q_h . v) + sum_j w_j scaled_j(x_j) + b_h

All heads share w, as in the public code, so that the head-weighted logit is the same sum with one blended query vector.
Two choices of ours: w_0 = softplus(rho) is positive by construction (serving needs it, the public code only hopes for
it), and each head has its own bias, since heads differ in base rate; the bias moves no order.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.contract import Cost, QueryFeatures, Ranker
from models.scaling import CrossScaling

#: Cosines of unrelated vectors in 64 dimensions spread by 1/8: half a logit at this weight.
START_DOT_WEIGHT = 4.0


@dataclass(frozen=True)
class Term:
    """One cross feature's part of a score: ``slope * log1p(rate * greatest(x, 0))``, plain enough for SQL."""

    name: str
    slope: float
    rate: float


@dataclass(frozen=True)
class Fusion:
    """The learned fusion as plain numbers: what serving and bulk scoring need beside the vectors."""

    dot_weight: float
    weights: tuple[float, ...]
    """Per cross feature, on its scaled value: comparable with each other."""
    bias: tuple[float, ...]
    """Per head."""
    head_weights: tuple[float, ...]
    """Sum to 1."""
    scaling: CrossScaling

    def terms(self) -> tuple[Term, ...]:
        """The folded weight function: slope_j = w_j / std_j."""
        scaling = self.scaling
        columns = zip(scaling.names, self.weights, scaling.rate, scaling.std, strict=True)
        return tuple(Term(name, weight / std, rate) for name, weight, rate, std in columns)

    def constant(self) -> float:
        """What the terms leave out: head-weighted bias - sum_j w_j mean_j / std_j."""
        bias = sum(weight * value for weight, value in zip(self.head_weights, self.bias, strict=True))
        columns = zip(self.weights, self.scaling.mean, self.scaling.std, strict=True)
        return bias - sum(weight * mean / std for weight, mean, std in columns)

    def cross_score(self, cross: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """One number per pair (P,) of unscaled cross features (P, C): sum of the terms and the constant.

        ``dot_weight * (blended_query . item) + cross_score`` is the head-weighted logit.
        """
        terms = self.terms()
        slope, rate = np.array([term.slope for term in terms]), np.array([term.rate for term in terms])
        score: npt.NDArray[np.float64] = np.log1p(np.maximum(cross, 0.0) * rate) @ slope + self.constant()
        return score


class LinearCross(nn.Module):
    """One weight per scaled cross feature: the part of a fusion that knows no vectors."""

    rate: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, scaling: CrossScaling):
        super().__init__()
        self.scaling = scaling
        # The public code starts all weights at 1; on standardised features that drowns the dot product.
        self.weight = nn.Parameter(torch.zeros(len(scaling.names)))
        for name in ("rate", "mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(scaling, name), dtype=torch.float32), persistent=False)

    def cross_logit(self, cross: Tensor) -> Tensor:
        """Unscaled (P, C) -> (P, 1): sum_j w_j scaled_j(x_j), for all heads alike."""
        scaled = (torch.log1p(cross.clamp(min=0) * self.rate) - self.mean) / self.std  # (P, C)
        return (scaled @ self.weight).unsqueeze(1)


class LinearFusion(LinearCross):
    """Logits (P, H) from q (P, H*D), v (P, D) and unscaled cross features (P, C)."""

    def __init__(self, heads: int, scaling: CrossScaling):
        super().__init__(scaling)
        self.rho = nn.Parameter(torch.tensor(float(np.log(np.expm1(START_DOT_WEIGHT)))))
        self.bias = nn.Parameter(torch.zeros(heads))

    def dot_weight(self) -> Tensor:
        return functional.softplus(self.rho)

    def start_at(self, base_rates: Tensor) -> None:
        """Set the biases (H,) to the logit of the heads' base rates: training need not look for it."""
        with torch.no_grad():
            self.bias.copy_(torch.logit(base_rates, eps=1e-4))

    def forward(self, q: Tensor, v: Tensor, cross: Tensor) -> Tensor:
        dots = (q.unflatten(1, (len(self.bias), -1)) * v.unsqueeze(1)).sum(-1)  # (P, H, D) -> (P, H)
        return self.dot_weight() * dots + self.bias + self.cross_logit(cross)


class LinearFusionRanker(Ranker):
    """A ranker whose score is linear in the dot product and in the scaled cross features.

    Sides: one vector per head from the query, q (R, H*D), and one from the item, v (N, D).
    """

    def __init__(self, head_weights: tuple[float, ...], dim: int, scaling: CrossScaling):
        super().__init__(head_weights, dim)
        self.fusion_layer = LinearFusion(len(head_weights), scaling)

    def score(self, q: Tensor, v: Tensor, cross: Tensor) -> Tensor:
        logits: Tensor = self.fusion_layer(q, v, cross)
        return logits

    def cross_read(self) -> tuple[str, ...]:
        return self.fusion_layer.scaling.names

    def cost(self) -> Cost:
        """As served: one blended query vector and, where it reads any, one folded number for all cross features."""
        folded = bool(self.cross_read())
        return Cost(flops=2 * self.dim + 2 * folded, bytes=4 * self.dim + 4 * folded)

    def start_at(self, base_rates: Tensor) -> None:
        self.fusion_layer.start_at(base_rates)

    def head_vectors(self, q: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return q.unflatten(1, (self.heads, self.dim)), v

    def blended_query(self, queries: QueryFeatures) -> Tensor:
        """The one serving vector (R, D): head-weighted mean of the head vectors, not normalised again (1.5)."""
        return self.blend(self.encode_query(queries))

    def blend(self, q: Tensor) -> Tensor:
        """(R, H*D) -> (R, D)."""
        return torch.einsum("rhd,h->rd", q.unflatten(1, (self.heads, self.dim)), self.head_weights)

    def fusion(self) -> Fusion:
        layer = self.fusion_layer
        return Fusion(
            dot_weight=float(layer.dot_weight().detach()),
            weights=tuple(layer.weight.detach().double().tolist()),
            bias=tuple(layer.bias.detach().double().tolist()),
            head_weights=tuple(self.head_weights.double().tolist()),
            scaling=layer.scaling,
        )
