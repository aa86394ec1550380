"""DAT (Yu et al., Meituan, DLP-KDD'21): ids learn a vector of what the other tower said to them when it went well.

Section numbers are those of prerank_models.md. Its sources are Alibaba's TorchEasyRec (S3) and summaries; the paper's
text was not at hand. The copies of DAT beside IntTower and HIT draw their "augmented vectors" anew in every pass (0.4).

- 7 Augmented vectors: a_u and a_v, as wide as a tower's vector, are looked up by id and join the tower's input [x | a].
  The paper has one per user. Our features hold no user id: on the query side it is one per query id bucket. Bucket 0,
  'not known', has the zero vector, and training hides ids now and then, so that a tower can do without.
- 7 Adaptive-mimic loss with gradients stopped at the towers' vectors p: mean over pairs of y |a_u - p_v|^2, and the
  same of a_v and p_u; a has length 1 in it, as in S3. Only positives pull. The losses of the pairs train a as well,
  as in S3. With H labels, a_u hears p_v in each label, and a_v that label's p_u, by head weight.
- 7 Category alignment, an option: sum over categories i of |C(major) - C(i)|_F^2, C being the covariance of the item
  vectors of one category (the export's first) in the step, ``major`` the one with most items there. Where several ranks
  share a step each compares its own items, and counts by its rows' weight.
- Score, scale and bias as in two_tower; 10 has the same cost as that: the augmented vectors are used up in the towers.
"""

import torch
from torch import Tensor
from torch.nn import functional

from models.config import TrainConfig
from models.contract import Batch, ItemFeatures, QueryFeatures
from models.features import FeatureSpec
from models.fields import ItemFields, QueryFields, small_table
from models.fusion import LinearFusionRanker
from models.scaling import CrossScaling
from models.towers import NumericStatistics, Tables, Tower


class DualAugmentedTwoTower(LinearFusionRanker):
    def __init__(self, spec: FeatureSpec, config: TrainConfig, scaling: CrossScaling, numerics: NumericStatistics):
        super().__init__(spec.head_weights, config.dim, scaling=CrossScaling((), (), (), ()))
        self.config = config.dat
        self.tables = Tables(spec, config)
        self.query_fields = QueryFields(spec, config, config.id_dim)
        self.item_fields = ItemFields(spec, config, numerics, config.id_dim)
        self.query_augmented = small_table(spec.id_buckets, config.dim)
        self.item_augmented = small_table(spec.id_buckets, config.dim)
        self.query_tower = Tower(len(self.query_fields.names) * config.id_dim + config.dim, config, len(spec.heads))
        self.item_tower = Tower(len(self.item_fields.names) * config.id_dim + config.dim, config, 1)

    def encode_query(self, queries: QueryFeatures) -> Tensor:
        text = self.tables.texts(queries.text)
        fields = self.query_fields(self.tables, queries, text).flatten(1)  # (R, F, d) -> (R, F*d)
        augmented = self.query_augmented(self.tables.hide(queries.query_id))  # (R, D)
        q: Tensor = self.query_tower(torch.cat([fields, augmented], dim=-1), text)  # (R, F*d + D) -> (R, H*D)
        return q

    def encode_item(self, items: ItemFeatures) -> Tensor:
        text = self.tables.texts(items.text)
        fields = self.item_fields(self.tables, items, text).flatten(1)  # (N, F, d) -> (N, F*d)
        augmented = self.item_augmented(self.tables.hide(items.item_id))  # (N, D)
        v: Tensor = self.item_tower(torch.cat([fields, augmented], dim=-1), text)  # (N, F*d + D) -> (N, D)
        return v

    def score(self, q: Tensor, v: Tensor, cross: Tensor) -> Tensor:
        return super().score(q, v, cross[:, :0])

    def auxiliary_loss(self, batch: Batch, q: Tensor, v: Tensor, logits: Tensor) -> Tensor:
        loss = self.config.mimic_weight * self._mimic(batch, q.detach(), v.detach())
        if self.config.alignment_weight and batch.items.categories.shape[1]:
            share = batch.weight.sum() / batch.total_weight.clamp(min=1e-12)
            aligned = category_alignment(v, batch.items.categories[:, 0])
            loss = loss + self.config.alignment_weight * share * aligned
        return loss

    def _mimic(self, batch: Batch, q: Tensor, v: Tensor) -> Tensor:
        """Mean over the step's rows, by weight, of y (|a_u - p_v|^2 + |a_v - p_u|^2), labels by head weight."""
        queries = q.unflatten(1, (self.heads, self.dim))[batch.pair_query]  # (R, H*D) -> (P, H, D)
        of_query = functional.normalize(self.query_augmented(batch.queries.query_id), dim=-1)[batch.pair_query]
        of_item = functional.normalize(self.item_augmented(batch.items.item_id), dim=-1)[batch.pair_item]  # (P, D)
        distance = (of_query - v[batch.pair_item]).square().sum(-1, keepdim=True)  # (P, 1)
        distance = distance + (of_item.unsqueeze(1) - queries).square().sum(-1)  # (P, H)
        rows = (batch.labels * distance) @ self.head_weights * batch.weight  # (P,)
        return rows.sum() / batch.total_weight.clamp(min=1e-12)


def category_alignment(v: Tensor, categories: Tensor) -> Tensor:
    """sum_i |C(major) - C(i)|_F^2 () of item vectors (N, D) with categories (N,), 0 not known and left out.

    C is the covariance of a category's vectors, divided by their number; a category with one item has none.
    """
    vectors = v[categories > 0]
    found, group, count = torch.unique(categories[categories > 0], return_inverse=True, return_counts=True)
    mean = v.new_zeros(len(found), v.shape[1]).index_add(0, group, vectors) / count.unsqueeze(1)
    centred = vectors - mean[group]
    outer = centred.unsqueeze(2) * centred.unsqueeze(1)  # (N, D, D)
    covariance = v.new_zeros(len(found), *outer.shape[1:]).index_add(0, group, outer) / count.view(-1, 1, 1)
    covariance = covariance[count > 1]  # (G, D, D)
    if not len(covariance):
        return v.sum() * 0.0
    major = covariance[count[count > 1].argmax()]
    return (covariance - major).square().sum()
