"""FIT's two meetings of the sides, with what InteractRank knows of the pair and of the user. Nobody has published it.

- From FIT (models.fit): meta queries that items pick, a user tower that sees them, the scorer over head similarities.
- From InteractRank (models.interactrank): precomputed cross features, scaled and linear, added to FIT's logit, with one
  weight each for all heads; the user sequence by learned weighted pooling, a feature of the user tower's shared part.
- The sequence is embedded once: FIT's target attention and InteractRank's pooling read the same entries.
- Served, all cross features of a pair fold into one number, as they do for InteractRank.
"""

from torch import Tensor

from models.config import TrainConfig
from models.contract import Cost, QueryFeatures
from models.features import FeatureSpec
from models.fit import Fit
from models.fusion import LinearCross
from models.scaling import CrossScaling
from models.towers import NumericStatistics, WeightedPooling


class InteractRankFit(Fit):
    history: WeightedPooling

    def __init__(self, spec: FeatureSpec, config: TrainConfig, scaling: CrossScaling, numerics: NumericStatistics):
        super().__init__(spec, config, scaling, numerics, WeightedPooling(spec, config), extra=config.dim)
        self.fusion_layer = LinearCross(scaling)

    def user_vectors(self, queries: QueryFeatures, targets: Tensor) -> Tensor:
        entries = self.history.entries(self.tables, queries)  # (R, L, D)
        pooled = self.history.pool(entries, queries)  # (R, D)
        vectors: Tensor = self.user_tower(self.tables, queries, targets, entries, pooled)
        return vectors

    def score(self, q: Tensor, v: Tensor, cross: Tensor) -> Tensor:
        return super().score(q, v, cross) + self.fusion_layer.cross_logit(cross)

    def cross_read(self) -> tuple[str, ...]:
        return self.fusion_layer.scaling.names

    def cost(self) -> Cost:
        """FIT's, and one folded number for all cross features of the pair."""
        fit = super().cost()
        return Cost(fit.flops + 1, fit.bytes + 4)
