"""COLD (Wang et al., Alibaba, DLP-KDD 2020, arXiv 2007.16122): an MLP over everything, cross features included.

Section numbers are those of the research notes; the paper's text was not at hand.

- 7 GwEN: concatenated field embeddings through fully connected layers, with cross features among the inputs. Where a
  two-tower model meets the item in one dot product, here every layer sees both.
- 7 SE block: s = sigmoid(W [e_1 .. e_m] + b), v_i = s_i e_i. The paper's gates see the fields of both sides, which
  leaves nothing to precompute; here those of a side see that side only. The public code's variant (FiBiNET's SENET with
  reduction 2 and a residual) and its wide linear part are left out.
- 6, 10 The first layer is split (models.split_scorer): an item stores W1v x_v, a request is worth W1q x_q.
- Not here: dropping fields for a compute budget (models.fscd learns that), half precision, column-wise serving.

Per pair at the notes' sizes (300, 300, 128, no cross features) 257 kFLOP and 1,200 bytes; here 2 h_1 C more for C cross
features, and 4 C bytes.
"""

import torch
from torch import Tensor, nn

from models.config import TrainConfig
from models.contract import Cost, ItemFeatures, QueryFeatures, Ranker
from models.features import FeatureSpec
from models.fields import ItemFields, QueryFields
from models.scaling import CrossScaling
from models.split_scorer import SplitScorer
from models.towers import NumericStatistics, Tables


class FieldGates(nn.Module):
    """The SE block of one side: fields (R, F, d), each weighed by a gate that sees all of them."""

    def __init__(self, fields: int, width: int):
        super().__init__()
        self.gate = nn.Linear(fields * width, fields)

    def forward(self, fields: Tensor) -> Tensor:
        gates = torch.sigmoid(self.gate(fields.flatten(1)))  # (R, F*d) -> (R, F)
        return fields * gates.unsqueeze(-1)


class Cold(Ranker):
    """Sides: the first layer's halves, q (R, h_1) and v (N, h_1)."""

    def __init__(self, spec: FeatureSpec, config: TrainConfig, scaling: CrossScaling, numerics: NumericStatistics):
        super().__init__(spec.head_weights, config.dim)
        own, width = config.cold, config.cold.field_dim
        self.cross_names = scaling.names
        self.tables = Tables(spec, config)
        self.query_fields = QueryFields(spec, config, width)
        self.item_fields = ItemFields(spec, config, numerics, width)
        counts = len(self.query_fields.names), len(self.item_fields.names)
        self.query_gates, self.item_gates = (FieldGates(count, width) for count in counts)
        sides = counts[0] * width, counts[1] * width
        self.scorer = SplitScorer(sides, scaling, own.hidden, self.heads, config.dropout)

    def encode_query(self, queries: QueryFeatures) -> Tensor:
        fields = self.query_fields(self.tables, queries, self.tables.texts(queries.text))  # (R, F, d)
        q: Tensor = self.scorer.query(self.query_gates(fields).flatten(1))  # (R, F*d) -> (R, h_1)
        return q

    def encode_item(self, items: ItemFeatures) -> Tensor:
        fields = self.item_fields(self.tables, items, self.tables.texts(items.text))  # (N, F, d)
        v: Tensor = self.scorer.item(self.item_gates(fields).flatten(1))  # (N, F*d) -> (N, h_1)
        return v

    def score(self, q: Tensor, v: Tensor, cross: Tensor) -> Tensor:
        logits: Tensor = self.scorer(q, v, self.scorer.scaled(cross))
        return logits

    def cross_read(self) -> tuple[str, ...]:
        return self.cross_names

    def cost(self) -> Cost:
        return self.scorer.cost(len(self.scorer.rate))

    def start_at(self, base_rates: Tensor) -> None:
        self.scorer.start_at(base_rates)
