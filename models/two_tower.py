"""The vanilla two-tower (DSSM) ranker: the baseline that knows neither history nor interactions.

- Query tower: hashed words and n-grams, hashed query id, segments. Item tower: text, id, categories, numerics, dense.
- Vectors of length 1; logit_h = w_0 (q_h . v) + b_h with a learned, positive w_0: without it a cosine cannot reach a
  click-through rate of a few percent, let alone tell it from one of half.
- Same towers, tables, loss, schedule and early stopping as every other model here: what differs is what it is shown.
"""

from torch import Tensor

from models.config import TrainConfig
from models.contract import ItemFeatures, QueryFeatures
from models.features import FeatureSpec
from models.fusion import LinearFusionRanker
from models.scaling import CrossScaling
from models.towers import ItemTower, NumericStatistics, QueryTower, Tables


class TwoTower(LinearFusionRanker):
    def __init__(self, spec: FeatureSpec, config: TrainConfig, scaling: CrossScaling, numerics: NumericStatistics):
        super().__init__(spec.head_weights, config.dim, scaling=CrossScaling((), (), (), ()))
        self.tables = Tables(spec, config)
        self.query_tower = QueryTower(spec, config)
        self.item_tower = ItemTower(spec, config, numerics)

    def encode_query(self, queries: QueryFeatures) -> Tensor:
        q: Tensor = self.query_tower(self.tables, queries)  # (R, H*D)
        return q

    def encode_item(self, items: ItemFeatures) -> Tensor:
        v: Tensor = self.item_tower(self.tables, items)  # (N, D)
        return v

    def score(self, q: Tensor, v: Tensor, cross: Tensor) -> Tensor:
        return super().score(q, v, cross[:, :0])
