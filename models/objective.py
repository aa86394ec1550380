"""A model with its losses: what one training step computes, as one module, so that it can be wrapped and compiled."""

import torch
from torch import Tensor, nn

from models.config import BF16, TrainConfig
from models.contract import Batch, Ranker
from models.distributed import Ranks
from models.errors import TrainingError
from models.in_batch import InBatchSoftmax
from models.losses import per_head


class Objective(nn.Module):
    """``forward`` gives the losses (H + 2,) of a batch: one per head, the in-batch softmax, the model's own (0 if off).

    Their sum weighted by ``weights`` (H + 2,) is what a step minimises: L = sum_h a_h L_h + lambda L_in_batch + L_own
    (InteractRank's public code; see models.losses and models.in_batch). On several ranks each returns its part.
    """

    weights: Tensor

    def __init__(self, ranker: Ranker, config: TrainConfig, ranks: Ranks):
        super().__init__()
        self.ranker, self.config, self.ranks = ranker, config, ranks
        self.in_batch: InBatchSoftmax | None = None
        if config.in_batch_weight:
            half_life = config.in_batch_half_life_steps
            self.in_batch = InBatchSoftmax(ranker.dim, half_life, config.cross_batch_negatives)
        weights = torch.cat([ranker.head_weights, torch.tensor([config.in_batch_weight, 1.0])])
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, batch: Batch) -> Tensor:
        ranker, config = self.ranker, self.config
        with torch.autocast(batch.labels.device.type, torch.bfloat16, enabled=config.precision == BF16):
            q, v = ranker.encode_query(batch.queries), ranker.encode_item(batch.items)  # (R, X), (N, Y)
        # The score and the losses stay in single precision: a cross feature's share of 1e-3 must not round away.
        q, v = q.float(), v.float()
        logits = ranker.score(q[batch.pair_query], v[batch.pair_item], batch.cross)  # (P, H)
        losses = per_head(config.loss, logits, batch.labels, batch.weight, batch.total_weight, config.focal_gamma)
        own = ranker.auxiliary_loss(batch, q, v, logits)
        own = losses.new_zeros(()) if own is None else own
        return torch.cat([losses, torch.stack([self._in_batch_loss(q, v, batch), own])])

    def _in_batch_loss(self, q: Tensor, v: Tensor, batch: Batch) -> Tensor:
        if self.in_batch is None:
            return q.new_zeros(())
        vectors = self.ranker.head_vectors(q, v)
        if vectors is None:
            raise TrainingError("this model has no dot product for train.in_batch_weight to train. Set it to 0.")
        return self.in_batch(*vectors, batch, self.ranks)
