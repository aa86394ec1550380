"""Each side as a list of fields of equal width: what models look at that weigh, select or mix whole features.

A field is one feature, projected to the common width without a bias: what is not known is exactly 0.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.config import TrainConfig
from models.contract import ItemFeatures, QueryFeatures
from models.features import FeatureSpec
from models.towers import NumericStatistics, Tables, WeightedPooling, signed_log


class QueryFields(nn.Module):
    """Text, query id, each segment, and the user's pooled history: F = 3 + S fields in the order of ``names``."""

    def __init__(self, spec: FeatureSpec, config: TrainConfig, width: int):
        super().__init__()
        self.names = ("text", "query_id", *(f"segment:{name}" for name in spec.segments), "history")
        self.segments = nn.ModuleList(
            small_table(max(len(values), 1), config.category_dim) for values in spec.segments.values()
        )
        self.sequence = WeightedPooling(spec, config)
        widths = (config.dim, config.id_dim, *(config.category_dim for _ in self.segments), config.dim)
        self.project = _projections(widths, width)

    def forward(self, tables: Tables, queries: QueryFeatures, text: Tensor) -> Tensor:
        """(R, F, width); ``text`` (R, D) are the queries' text vectors."""
        parts = [text, tables.query_id(tables.hide(queries.query_id))]
        parts += [table(queries.segments[:, index]) for index, table in enumerate(self.segments)]
        parts.append(self.sequence(tables, queries))
        return _projected(self.project, parts)


class ItemFields(nn.Module):
    """Text, item id, each category, each numeric, and the dense vector if there is one, in the order of ``names``.

    F = 2 + K + M + (0 or 1). A numeric is its standardised signed logarithm beside a flag for 'not known'.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: FeatureSpec, config: TrainConfig, numerics: NumericStatistics, width: int):
        super().__init__()
        self.names = ("text", "item_id", *(f"category:{name}" for name in spec.categories))
        self.names += tuple(f"numeric:{name}" for name in spec.numerics)
        self.register_buffer("mean", torch.tensor(numerics.mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(numerics.std, dtype=torch.float32))
        widths = [
            config.dim,
            config.id_dim,
            *(config.category_dim for _ in spec.categories),
            *(2 for _ in numerics.mean),
        ]
        self.dense_norm: nn.Module | None = None
        if spec.dense_width:
            self.names += ("dense",)
            self.dense_norm = nn.LayerNorm(spec.dense_width)
            widths.append(spec.dense_width)
        self.project = _projections(widths, width)

    def forward(self, tables: Tables, items: ItemFeatures, text: Tensor) -> Tensor:
        """(N, F, width); ``text`` (N, D) are the items' text vectors."""
        parts = [text, tables.item_id(tables.hide(items.item_id))]
        parts += [table(items.categories[:, index]) for index, table in enumerate(tables.categories)]
        scaled = (signed_log(items.numerics) - self.mean) / self.std
        unknown = scaled.isnan()
        parts += torch.stack([torch.where(unknown, 0.0, scaled), unknown.float()], dim=-1).unbind(1)  # M x (N, 2)
        if self.dense_norm is not None:
            parts.append(self.dense_norm(items.dense))
        return _projected(self.project, parts)


def small_table(rows: int, width: int) -> nn.Embedding:
    """An embedding that starts small; row 0, 'not known', stays zero."""
    table = nn.Embedding(rows, width, padding_idx=0)
    nn.init.normal_(table.weight, std=0.1)
    nn.init.zeros_(table.weight[0])
    return table


def _projections(widths: Sequence[int], width: int) -> nn.ModuleList:
    """One per field. They start orthogonal: PyTorch's start would shrink and squeeze fields that are small as it is."""
    layers = [nn.Linear(own, width, bias=False) for own in widths]
    for layer in layers:
        nn.init.orthogonal_(layer.weight)
    return nn.ModuleList(layers)


def _projected(project: nn.ModuleList, parts: list[Tensor]) -> Tensor:
    return torch.stack([layer(part) for layer, part in zip(project, parts, strict=True)], dim=1)
