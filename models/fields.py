"""A side as a list of fields of one width: what models that weigh, gate or drop whole fields work on.

Query side: text, query id, each segment, the user's pooled history. Item side: text, item id, each category, each
numeric, the dense vectors. Everything is read through the tables of models.towers and projected to the width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.config import TrainConfig
from models.contract import ItemFeatures, QueryFeatures
from models.features import FeatureSpec
from models.hashing import AGE_BUCKETS
from models.towers import NumericStatistics, Tables, WeightedPooling, signed_log


@dataclass(frozen=True)
class Field:
    name: str
    lookups: int
    """Embedding rows that one request or item reads for it."""
    rows: int
    """Embedding rows that there are for it: its cardinality."""


class QueryFieldEncoder(nn.Module):
    """(R, F, d) of a batch's queries."""

    def __init__(self, spec: FeatureSpec, config: TrainConfig, width: int):
        super().__init__()
        events = spec.history_length
        self.fields = (
            Field("text", spec.max_text_features, spec.text_buckets),
            Field("query_id", 1, spec.id_buckets),
            *(Field(name, 1, max(len(values), 1)) for name, values in spec.segments.items()),
            Field("history", events * (3 + len(spec.categories)), spec.id_buckets + len(spec.actions) + AGE_BUCKETS),
        )
        self.segments = nn.ModuleList(
            nn.Embedding(max(len(values), 1), width, padding_idx=0) for values in spec.segments.values()
        )
        self.sequence = WeightedPooling(spec, config)
        self.text = nn.Linear(config.dim, width)
        self.query_id = nn.Linear(config.id_dim, width)
        self.history = nn.Linear(config.dim, width)

    def forward(self, tables: Tables, queries: QueryFeatures) -> Tensor:
        parts = [
            self.text(tables.texts(queries.text)),
            self.query_id(tables.query_id(tables.hide(queries.query_id))),
            *(table(queries.segments[:, index]) for index, table in enumerate(self.segments)),
            self.history(self.sequence(tables, queries)),
        ]
        return torch.stack(parts, dim=1)  # F times (R, d) -> (R, F, d)


class ItemFieldEncoder(nn.Module):
    """(N, F, d) of items."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: FeatureSpec, config: TrainConfig, numerics: NumericStatistics, width: int):
        super().__init__()
        self.register_buffer("mean", torch.tensor(numerics.mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(numerics.std, dtype=torch.float32))
        self.fields = (
            Field("text", spec.max_text_features, spec.text_buckets),
            Field("item_id", 1, spec.id_buckets),
            *(Field(name, 1, spec.category_buckets) for name in spec.categories),
            *(Field(name, 1, 1) for name in spec.numerics),
            *((Field("dense", spec.dense_width, 1),) if spec.dense_width else ()),
        )
        self.text = nn.Linear(config.dim, width)
        self.item_id = nn.Linear(config.id_dim, width)
        self.categories = nn.ModuleList(nn.Linear(config.category_dim, width) for _ in spec.categories)
        self.numerics = nn.ModuleList(nn.Linear(2, width) for _ in spec.numerics)
        self.dense: nn.Module | None = None
        if spec.dense_width:
            self.dense = nn.Sequential(nn.LayerNorm(spec.dense_width), nn.Linear(spec.dense_width, width))

    def forward(self, tables: Tables, items: ItemFeatures) -> Tensor:
        scaled = (signed_log(items.numerics) - self.mean) / self.std  # (N, M)
        unknown = scaled.isnan()
        numbers = torch.stack([torch.where(unknown, 0.0, scaled), unknown.float()], dim=-1)  # (N, M, 2)
        kinds = zip(self.categories, tables.categories, strict=True)
        parts = [
            self.text(tables.texts(items.text)),
            self.item_id(tables.item_id(tables.hide(items.item_id))),
            *(layer(table(items.categories[:, index])) for index, (layer, table) in enumerate(kinds)),
            *(layer(numbers[:, index]) for index, layer in enumerate(self.numerics)),
            *([self.dense(items.dense)] if self.dense is not None else []),
        ]
        return torch.stack(parts, dim=1)  # F times (N, d) -> (N, F, d)
