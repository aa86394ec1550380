"""Several vectors per side, compared by sums of maxima: what IntTower and HIT share.

logit_h = w_0 / I sum_{i=1..I} max_{j=1..J} <U_h[i], V[j]> + b_h

- The query side has I vectors for each of the H heads (labels), the item side J vectors for all of them.
- A plain sum of maxima saturates with more than a few vectors (prerank_models.md 3, "Stability", which advises the
  factors 1/sqrt(f) and 1/I). Here is 1/I; instead of 1/sqrt(f) every vector has length 1, as in the two-tower model.
- As in the towers of ``models.towers``, the text vector passes by the layers and is added to every vector, where the
  widths differ through one projection that both sides share.
- ReLU then LayerNorm: BatchNorm would make ranks and a small last step differ.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.config import TrainConfig
from models.contract import Cost, Ranker
from models.fusion import START_DOT_WEIGHT


class HiddenLayers(nn.Module):
    """LayerNorm, then [Linear -> ReLU -> LayerNorm -> dropout] per width of ``config.hidden``."""

    def __init__(self, width: int, config: TrainConfig):
        super().__init__()
        self.widths = (width, *config.hidden)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(before, after), nn.ReLU(), nn.LayerNorm(after), nn.Dropout(config.dropout))
            for before, after in zip(self.widths[:-1], self.widths[1:], strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """The normalised input and the output of each layer, of ``widths``."""
        outputs = [self.norm(x)]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        return outputs


class Representer(nn.Module):
    """(R, width) and text (R, f) -> (R, count, f): ``count`` vectors of length 1."""

    def __init__(self, width: int, count: int, head_dim: int):
        super().__init__()
        self.count = count
        self.linear = nn.Linear(width, count * head_dim)
        nn.init.normal_(self.linear.weight, std=0.5 / (width * head_dim) ** 0.5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        blocks = self.linear(x).unflatten(1, (self.count, -1))  # (R, count * f) -> (R, count, f)
        return functional.normalize(blocks + text.unsqueeze(1), dim=-1)


def text_projection(dim: int, head_dim: int) -> nn.Module:
    """(R, D) -> (R, f): nothing if the widths are equal, else orthogonal at first: texts that are alike stay alike."""
    if dim == head_dim:
        return nn.Identity()
    projection = nn.Linear(dim, head_dim, bias=False)
    nn.init.orthogonal_(projection.weight)
    return projection


class ScaleAndBias(nn.Module):
    """w_0 s + b of similarities s (P, H), with w_0 = softplus(rho) positive by construction."""

    def __init__(self, heads: int):
        super().__init__()
        self.rho = nn.Parameter(torch.tensor(float(np.log(np.expm1(START_DOT_WEIGHT)))))
        self.bias = nn.Parameter(torch.zeros(heads))

    def forward(self, similarity: Tensor) -> Tensor:
        return functional.softplus(self.rho) * similarity + self.bias


class SumMaxRanker(Ranker):
    """Sides: q (R, H*I*f), v (N, J*f); further columns of a side, if any, do not count."""

    def __init__(self, head_weights: tuple[float, ...], query_vectors: int, item_vectors: int, head_dim: int):
        super().__init__(head_weights, head_dim)
        self.query_vectors, self.item_vectors = query_vectors, item_vectors
        # The name that the optimizer knows: these few numbers learn faster than the towers.
        self.fusion_layer = ScaleAndBias(len(head_weights))

    def query_side(self, q: Tensor) -> Tensor:
        """(P, X) -> (P, H, I, f)."""
        shape = (self.heads, self.query_vectors, self.dim)
        return q[:, : int(np.prod(shape))].unflatten(1, shape)

    def item_side(self, v: Tensor) -> Tensor:
        """(P, Y) -> (P, J, f)."""
        return v[:, : self.item_vectors * self.dim].unflatten(1, (self.item_vectors, self.dim))

    def score(self, q: Tensor, v: Tensor, cross: Tensor) -> Tensor:
        queries = self.query_side(q).flatten(1, 2)  # (P, H*I, f)
        similarity = queries @ self.item_side(v).transpose(1, 2)  # (P, H*I, f) x (P, f, J) -> (P, H*I, J)
        best = similarity.amax(-1).unflatten(1, (self.heads, self.query_vectors))  # (P, H*I, J) -> (P, H, I)
        logits: Tensor = self.fusion_layer(best.mean(-1))
        return logits

    def cost(self) -> Cost:
        """2 I J f for products and I J for maxima and sums, per head; a scale, which takes in 1/I, and a bias."""
        cells = self.query_vectors * self.item_vectors
        return Cost(
            flops=self.heads * (2 * cells * self.dim + cells + 2),
            bytes=4 * self.item_vectors * self.dim,
        )

    def start_at(self, base_rates: Tensor) -> None:
        with torch.no_grad():
            self.fusion_layer.bias.copy_(torch.logit(base_rates, eps=1e-4))
