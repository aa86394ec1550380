"""IntTower (Li et al., Huawei, CIKM'22, arXiv 2210.09890): layers of the query tower meet heads of the item tower.

Section numbers are those of prerank_models.md, which was read off the authors' code; the paper's text was not at hand.

- 3 Light-SE, on each side: z = mean_d(E), a = softmax(z W), E' = E + a (.) E weighs whole fields; W has no bias, as in
  the code. The paper's user is our query: query id, text, segments and the pooled history (see models.fields).
- 3 FE-Block: every layer l of the query tower, its input x included, is cut into I heads; the item's last layer into
  J = I heads; s = sum_l sum_i max_j <U_l[i], V[j]>. The code's layers (300, 300, 128) contribute their three inputs and
  the third output is unused: the same as ``hidden`` (300, 300) here, where the last output does contribute.
  models.sum_max has the scaling that keeps the sum from saturating.
- 3 CIR is off by default: the authors removed it from the released code ("hard to tune"), whose two versions disagree.
  The older puts means of cosines into the exponentials, so that only negatives are left of it. Our reading is what that
  seems to stand for: per positive pair, a softmax over the cosines of its request's pairs, u and v being the means of
  the last query layer's heads and of the item's heads.
- Fields are as wide as ``id_dim``: 32, as in the code.
- H labels: the query layers have heads of their own for each label, the item's heads serve all.
- 10: 1,548 FLOPs and 512 bytes per pair at three layers, 2 heads of 64 and one label; ``cost`` adds scale and bias.
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


class LightSE(nn.Module):
    """Field weights from field means: (R, F, d) -> (R, F, d)."""

    def __init__(self, fields: int):
        super().__init__()
        self.linear = nn.Linear(fields, fields, bias=False)

    def forward(self, fields: Tensor) -> Tensor:
        weight = self.linear(fields.mean(-1)).softmax(-1)  # (R, F, d) -> (R, F)
        return fields + weight.unsqueeze(-1) * fields


class IntTower(SumMaxRanker):
    def __init__(self, spec: FeatureSpec, config: TrainConfig, scaling: CrossScaling, numerics: NumericStatistics):
        own, width = config.inttower, config.id_dim
        super().__init__(spec.head_weights, own.heads * (1 + len(config.hidden)), own.heads, own.head_dim)
        self.config = own
        self.tables = Tables(spec, config)
        self.text_heads = text_projection(config.dim, own.head_dim)
        self.query_fields = QueryFields(spec, config, width)
        self.item_fields = ItemFields(spec, config, numerics, width)
        self.query_se = LightSE(len(self.query_fields.names))
        self.item_se = LightSE(len(self.item_fields.names))
        self.query_hidden = HiddenLayers(len(self.query_fields.names) * width, config)
        self.item_hidden = HiddenLayers(len(self.item_fields.names) * width, config)
        self.query_heads = nn.ModuleList(
            Representer(layer, self.heads * own.heads, own.head_dim) for layer in self.query_hidden.widths
        )
        self.item_heads = Representer(self.item_hidden.widths[-1], own.heads, own.head_dim)

    def encode_query(self, queries: QueryFeatures) -> Tensor:
        text = self.tables.texts(queries.text)
        fields = self.query_se(self.query_fields(self.tables, queries, text))  # (R, F, d)
        layers, text = self.query_hidden(fields.flatten(1)), self.text_heads(text)
        blocks = [heads(layer, text) for heads, layer in zip(self.query_heads, layers, strict=True)]  # (R, H*I, f)
        by_label = [block.unflatten(1, (self.heads, self.config.heads)) for block in blocks]
        return torch.cat(by_label, dim=2).flatten(1)  # L x (R, H, I, f) -> (R, H, L*I, f) -> (R, H*L*I*f)

    def encode_item(self, items: ItemFeatures) -> Tensor:
        text = self.tables.texts(items.text)
        fields = self.item_se(self.item_fields(self.tables, items, text))  # (N, F, d)
        v: Tensor = self.item_heads(self.item_hidden(fields.flatten(1))[-1], self.text_heads(text))  # (N, J, f)
        return v.flatten(1)

    def auxiliary_loss(self, batch: Batch, q: Tensor, v: Tensor, logits: Tensor) -> Tensor | None:
        """CIR: - mean over positives (p, h) of log softmax over the request of p of cos(u_h, v) / temperature."""
        if not self.config.cir_weight:
            return None
        last = self.query_side(q)[:, :, -self.config.heads :].mean(2)  # (R, H, L*I, f) -> (R, H, f)
        u = functional.normalize(last, dim=-1)[batch.pair_query]  # (P, H, f)
        item = functional.normalize(self.item_side(v).mean(1), dim=-1)[batch.pair_item]  # (P, f)
        # Cosines less 1 are at most 0: their exponentials cannot overflow, and 1 drops out of the softmax.
        alike = ((u * item.unsqueeze(1)).sum(-1) - 1.0) / self.config.cir_temperature  # (P, H)
        total = alike.new_zeros(len(q), self.heads).index_add(0, batch.pair_query, alike.exp())  # (R, H)
        loss = total.clamp(min=1e-30).log()[batch.pair_query] - alike
        positives = (loss * (batch.labels > 0)).sum() / batch.total_positives.clamp(min=1.0)
        return self.config.cir_weight * positives
