"""InteractRank (Pinterest, WWW'25 Companion, arXiv 2504.06609): two towers, sequences, interactions fused late.

Section numbers are those of the research notes on the paper and its public code.

- 1.2 Towers: one vector per head from the query side, one shared by the heads from the item side, each of length 1.
  Layer-normed inputs pass a parallel MaskNet (models.masknet), then an MLP; the text vector passes by both. Numerics
  are a learned mixture of three forms (models.numerics). LayerNorm where the public code has BatchNorm: a row must not
  depend on its batch, nor ranks differ.
- 1.3 User sequence: the last actions (item, action type, relative time over 16 exponential buckets), summed up by
  learned weights and by attention of the query (models.sequences). The paper's text was not at hand; figure 2 names a
  "Learned Weighted Pooling Module" and a "Query Cross Attention Module", fed with a "Relative Timestamp Embedding". The
  public code's version of both does not run. Our reading masks padding, which the public code counts as actions.
- 1.3 The query's own history: the 20 items that it did best with (`xperf_seq`) as of D-1-lag_days, summed up alike.
- 1.4 Score: logit_h = w_0 (q_h . v) + sum_j w_j scaled_j(x_j) + b_h, one linear layer over the dot product and the
  precomputed item-query interactions x of the export (windows, actions, segments, decays). The public code feeds x raw;
  a share of 1e-3 beside a dot product in [-1, 1] needs the recorded scaling of models.scaling.
- 1.5 Serving: ``blended_query`` is one vector, and order by w_0 (q . v) + cross equals order by head-weighted logits.
"""

import torch
from torch import Tensor

from models.config import TrainConfig
from models.contract import ItemFeatures, QueryFeatures
from models.features import FeatureSpec
from models.fusion import LinearFusionRanker
from models.model_configs import NONE
from models.scaling import CrossScaling
from models.sequences import BestItems, UserSequence
from models.towers import ItemTower, NumericStatistics, QueryTower, Tables


class InteractRank(LinearFusionRanker):
    def __init__(self, spec: FeatureSpec, config: TrainConfig, scaling: CrossScaling, numerics: NumericStatistics):
        super().__init__(spec.head_weights, config.dim, scaling)
        own = config.interactrank
        self.tables = Tables(spec, config)
        asking = config.dim + config.id_dim
        self.sequence = UserSequence(spec, config, own.sequence, asking) if own.sequence != NONE else None
        self.best_items = BestItems(spec, config, asking) if own.query_items else None
        lists = (self.sequence is not None) + (self.best_items is not None)
        self.query_tower = QueryTower(spec, config, extra=config.dim * lists, masks=own)
        self.item_tower = ItemTower(spec, config, numerics, masks=own)

    def encode_query(self, queries: QueryFeatures) -> Tensor:
        asked = torch.cat([self.tables.texts(queries.text), self.tables.query_id(queries.query_id)], dim=-1)
        known = []
        if self.sequence is not None:
            known.append(self.sequence(self.tables, queries, asked))  # (R, L), (R, D + id_dim) -> (R, D)
        if self.best_items is not None:
            known.append(self.best_items(self.tables, queries, asked))  # (R, B), (R, D + id_dim) -> (R, D)
        q: Tensor = self.query_tower(self.tables, queries, *known)  # (R, H*D)
        return q

    def encode_item(self, items: ItemFeatures) -> Tensor:
        v: Tensor = self.item_tower(self.tables, items)  # (N, D)
        return v
