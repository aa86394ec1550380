"""HIT (Yang et al., Tencent, arXiv 2505.19849): each tower generates what the other one would say, before it is asked.

Section numbers are those of prerank_models.md, which was read off the authors' code; the paper's text was not at hand.

- 5 Dual generators per tower: from the tower's static fields, which they do not train, g+ mimics the other tower's
  vectors of positive pairs and g- learns from those of negative pairs. Both are inputs of the tower, which does not
  train them either. Static are here text, query id and segments; text, item id and categories.
- 5 Mimic loss, mean over pairs: y (1 - cos(g+, R)) + (1 - y) cos(g-, R) with R of the other side held fixed. The code
  adds + cos for positives too and so drives g+ away from what it shall mimic (point 0.6); the paper says mimic. For g-
  the code's sign stands: it is the usual cosine embedding loss, and as the layer behind g- is linear, a vector that
  points away from the negatives tells the tower as much as one that points at them.
- Ours: the generators' last layer has no ReLU, since R has entries of either sign, and g has length 1, since the loss
  trains nothing but its direction.
- 5 Multi-head representer: K vectors per side, s = sum_i max_j <R_u[i], R_v[j]>, scaled as models.sum_max says. The
  query side has K for each of H labels; an item's generators mimic all of them, each with its label, by head weight.
- The code's Light-SE is created and never used: there is none here.
- 10: 132 FLOPs and 128 bytes per pair at K=2, f=16 and one label; ``cost`` adds scale and bias. Generator vectors ride
  along as further columns of a side while training, and are not part of what is stored or read per pair.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.config import TrainConfig
from models.contract import Batch, ItemFeatures, QueryFeatures
from models.features import FeatureSpec
from models.fields import ItemFields, QueryFields
from models.scaling import CrossScaling
from models.sum_max import HiddenLayers, Representer, SumMaxRanker, text_projection
from models.towers import NumericStatistics, Tables


class DualGenerators(nn.Module):
    """Static fields (R, F, d) -> g+ and g- (R, 2*K*f), each of length 1. The fields get no gradient."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.positive, self.negative = (
            nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs))
            for _ in range(2)
        )

    def forward(self, fields: Tensor) -> Tensor:
        x = fields.detach().flatten(1)
        return torch.cat([functional.normalize(one(x), dim=-1) for one in (self.positive, self.negative)], dim=-1)


class HitTower(nn.Module):
    """Fields (R, F, d) and text (R, f) -> ``count`` vectors and the generators' two: (R, count*f), (R, 2*K*f)."""

    def __init__(self, names: tuple[str, ...], static: int, count: int, config: TrainConfig):
        super().__init__()
        own, width = config.hit, config.id_dim
        mimic = own.heads * own.head_dim
        self.static = static
        self.generators = DualGenerators(static * width, mimic)
        self.hidden = HiddenLayers(len(names) * width + 2 * mimic, config)
        self.representer = Representer(self.hidden.widths[-1], count, own.head_dim)

    def forward(self, fields: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        mimics = self.generators(fields[:, : self.static])
        hidden = self.hidden(torch.cat([fields.flatten(1), mimics.detach()], dim=-1))[-1]
        return self.representer(hidden, text).flatten(1), mimics


class Hit(SumMaxRanker):
    def __init__(self, spec: FeatureSpec, config: TrainConfig, scaling: CrossScaling, numerics: NumericStatistics):
        own, width = config.hit, config.id_dim
        super().__init__(spec.head_weights, own.heads, own.heads, own.head_dim)
        self.mimic_weight = own.mimic_weight
        self.tables = Tables(spec, config)
        self.text_heads = text_projection(config.dim, own.head_dim)
        self.query_fields = QueryFields(spec, config, width)
        self.item_fields = ItemFields(spec, config, numerics, width)
        # The static fields come first in both lists.
        queries, items = 2 + len(spec.segments), 2 + len(spec.categories)
        self.query_tower = HitTower(self.query_fields.names, queries, self.heads * own.heads, config)
        self.item_tower = HitTower(self.item_fields.names, items, own.heads, config)

    def encode_query(self, queries: QueryFeatures) -> Tensor:
        text = self.tables.texts(queries.text)
        fields = self.query_fields(self.tables, queries, text)  # (R, F, d)
        return self._side(*self.query_tower(fields, self.text_heads(text)))

    def encode_item(self, items: ItemFeatures) -> Tensor:
        text = self.tables.texts(items.text)
        fields = self.item_fields(self.tables, items, text)  # (N, F, d)
        return self._side(*self.item_tower(fields, self.text_heads(text)))

    def _side(self, vectors: Tensor, mimics: Tensor) -> Tensor:
        """(R, H*K*f), or in training (R, H*K*f + 2*K*f)."""
        return torch.cat([vectors, mimics], dim=-1) if self.training else vectors

    def auxiliary_loss(self, batch: Batch, q: Tensor, v: Tensor, logits: Tensor) -> Tensor | None:
        """The mimic loss of both sides, a mean over the step's rows by weight; None in eval mode, without mimics."""
        if not self.training:
            return None
        width = self.item_vectors * self.dim
        queries = self.query_side(q).flatten(2).detach()[batch.pair_query]  # (R, X) -> (P, H, K*f)
        items = self.item_side(v).flatten(1).detach()[batch.pair_item]  # (N, Y) -> (P, K*f)
        from_query = q[:, -2 * width :].unflatten(1, (2, width))[batch.pair_query]  # (P, 2, K*f)
        from_item = v[:, -2 * width :].unflatten(1, (2, width))[batch.pair_item]
        loss = mimic_loss(from_query, items.unsqueeze(1), batch.labels)  # (P, H)
        loss = loss + mimic_loss(from_item, queries, batch.labels)
        weighted = (loss @ self.head_weights * batch.weight).sum() / batch.total_weight.clamp(min=1e-12)
        return self.mimic_weight * weighted


def mimic_loss(mimics: Tensor, target: Tensor, labels: Tensor) -> Tensor:
    """y (1 - cos(g+, R)) + (1 - y) cos(g-, R), by pair and label (P, H).

    ``mimics`` (P, 2, E) are g+ and g-, ``target`` R is (P, H, E), or (P, 1, E) if all labels have one, labels (P, H).
    """
    cosine = functional.cosine_similarity(mimics.unsqueeze(2), target.unsqueeze(1), dim=-1)  # (P, 2, H or 1)
    return labels * (1.0 - cosine[:, 0]) + (1.0 - labels) * cosine[:, 1]
