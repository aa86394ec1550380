"""Lists of items summed up as one vector (InteractRank 1.3): a user's last actions, a query's best items.

- pooling: u = sum_i alpha_i e_i, alpha learned (models.towers.WeightedPooling).
- attention: u = sum_i beta_i e_i, beta = softmax_i(s . e_i / sqrt(D)), s the query's text and id, projected. The public
  code neither scales nor masks; ours takes the softmax over the entries that exist.
- both: their sum, the paper's module (figure 2). mean: the public code's default, the mean of the entries.
- A query's best items (`xperf_seq` of the public code) are always summed up by both; a learned weight per place.
"""

import torch
from torch import Tensor, nn

from etl.contract.manifest import QUERY_ITEMS_LENGTH
from models.config import TrainConfig
from models.contract import QueryFeatures
from models.features import FeatureSpec
from models.model_configs import ATTENTION, BOTH, MEAN, POOLING
from models.towers import HistoryEntries, Tables, WeightedPooling


class QueryAttention(nn.Module):
    """Entries (R, L, D), of which some are ``seen`` (R, L), and what asks (R, X) -> (R, D), 0 where none is seen."""

    def __init__(self, width: int, dim: int):
        super().__init__()
        self.ask = nn.Linear(width, dim)

    def forward(self, entries: Tensor, seen: Tensor, asking: Tensor) -> Tensor:
        logits = torch.einsum("rd,rld->rl", self.ask(asking), entries) * entries.shape[-1] ** -0.5
        beta = logits.masked_fill(~seen, -1e9).softmax(-1) * seen
        return torch.einsum("rl,rld->rd", beta, entries)


class UserSequence(nn.Module):
    """-> (R, D); ``asking`` (R, width) is what the query is."""

    def __init__(self, spec: FeatureSpec, config: TrainConfig, mode: str, width: int):
        super().__init__()
        self.mode = mode
        kind = WeightedPooling if mode in (POOLING, BOTH) else HistoryEntries
        self.history = kind(spec, config)
        self.attention = QueryAttention(width, config.dim) if mode in (ATTENTION, BOTH) else None

    def forward(self, tables: Tables, queries: QueryFeatures, asking: Tensor) -> Tensor:
        seen = queries.history_action > 0  # (R, L)
        entries = self.history.entries(tables, queries)  # (R, L, D)
        if self.mode == MEAN:
            return (entries * seen.unsqueeze(-1)).sum(1) / seen.sum(1, keepdim=True).clamp(min=1)
        user = entries.new_zeros(entries.shape[0], entries.shape[-1])
        if isinstance(self.history, WeightedPooling):
            user = user + self.history.pool(entries, queries)
        if self.attention is not None:
            user = user + self.attention(entries, seen, asking)
        return user


class BestItems(nn.Module):
    """The items that the query did best with so far -> (R, D), 0 where there are none."""

    def __init__(self, spec: FeatureSpec, config: TrainConfig, width: int):
        super().__init__()
        self.project = nn.Linear(config.id_dim + config.category_dim * len(spec.categories), config.dim)
        self.place = nn.Parameter(torch.zeros(QUERY_ITEMS_LENGTH))
        self.attention = QueryAttention(width, config.dim)

    def forward(self, tables: Tables, queries: QueryFeatures, asking: Tensor) -> Tensor:
        seen = queries.top_item > 0  # (R, B)
        items = torch.cat([tables.item_id(queries.top_item), tables.kinds(queries.top_categories)], dim=-1)
        entries = self.project(items)  # (R, B, D)
        alpha = self.place.expand(seen.shape).masked_fill(~seen, -1e9).softmax(-1) * seen
        best: Tensor = torch.einsum("rb,rbd->rd", alpha, entries) + self.attention(entries, seen, asking)
        return best
