"""An MLP over [query; item; cross features] whose first layer is computed where its inputs are known.

W1 [x_q; x_v; x_c] + b = (W1q x_q + b) + W1v x_v + W1c x_c: the first summand once per request, the second once per item
and offline, only the third per pair. It is the same function as the unsplit layer, at two thirds of its FLOPs in the
setting of the research notes (section 10).

LayerNorm, on each side's input alone, and no BatchNorm: a row must not depend on its batch, nor on how a step is cut
among ranks. (The public COLD code has its BatchNorm off.)
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.contract import Cost
from models.scaling import CrossScaling


class SplitScorer(nn.Module):
    """Halves (R, h) of the query side and (N, h) of the item side; logits (P, H) of both and scaled cross (P, C)."""

    rate: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self, sides: tuple[int, int], scaling: CrossScaling, hidden: tuple[int, ...], heads: int, dropout: float
    ):
        super().__init__()
        width, *rest = hidden
        self.query = nn.Sequential(nn.LayerNorm(sides[0]), nn.Linear(sides[0], width))
        self.item = nn.Sequential(nn.LayerNorm(sides[1]), nn.Linear(sides[1], width, bias=False))
        self.cross = nn.Parameter(torch.zeros(width, len(scaling.names)))
        layers: list[nn.Module] = [nn.ReLU(), nn.Dropout(dropout)]
        for following in rest:
            layers += [nn.Linear(width, following), nn.ReLU(), nn.Dropout(dropout)]
            width = following
        self.last = nn.Linear(width, heads)
        self.layers = nn.Sequential(*layers)
        for name in ("rate", "mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(scaling, name), dtype=torch.float32), persistent=False)

    def start_at(self, base_rates: Tensor) -> None:
        """Set the heads' biases (H,) to the logits of their base rates."""
        with torch.no_grad():
            self.last.bias.copy_(torch.logit(base_rates, eps=1e-4))

    def scaled(self, cross: Tensor) -> Tensor:
        """(P, C) as the recorded scaling has it."""
        return (torch.log1p(cross.clamp(min=0) * self.rate) - self.mean) / self.std

    def forward(self, query_half: Tensor, item_half: Tensor, scaled: Tensor, columns: Tensor | None = None) -> Tensor:
        """(P, h), (P, h), (P, C) -> (P, H); ``columns`` (C,) says which cross features ``scaled`` holds, if not all."""
        weight = self.cross if columns is None else self.cross[:, columns]
        first = query_half + item_half + functional.linear(scaled, weight)  # (P, h)
        logits: Tensor = self.last(self.layers(first))
        return logits

    def cost(self, cross: int) -> Cost:
        """Per pair, with so many cross features: matrix products and the sums of the first layer."""
        width = self.cross.shape[0]
        linear = [layer for layer in (*self.layers, self.last) if isinstance(layer, nn.Linear)]
        products = sum(2 * layer.in_features * layer.out_features for layer in linear)
        return Cost(flops=2 * width * cross + 2 * width + products, bytes=4 * (width + cross))
