"""Embedding tables, the two towers and the user sequence: parts that models put together.

Both sides read text through one hashed table, and history through the item side's tables: words shared by query and
item, or items shared by history and candidate, point the same way from the first step on.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.config import TrainConfig
from models.contract import ItemFeatures, QueryFeatures
from models.features import FeatureSpec
from models.hashing import AGE_BUCKETS
from models.masknet import MaskNet
from models.model_configs import InteractRankConfig
from models.numerics import FormStatistics, NumericMixture


class Tables(nn.Module):
    """Hashed embeddings. Row 0 of each is 'not known' or padding and stays zero."""

    def __init__(self, spec: FeatureSpec, config: TrainConfig):
        super().__init__()
        self.text = nn.EmbeddingBag(spec.text_buckets, config.dim, mode="mean", padding_idx=0)
        self.query_id = nn.Embedding(spec.id_buckets, config.id_dim, padding_idx=0)
        self.item_id = nn.Embedding(spec.id_buckets, config.id_dim, padding_idx=0)
        self.categories = nn.ModuleList(
            nn.Embedding(spec.category_buckets, config.category_dim, padding_idx=0) for _ in spec.categories
        )
        self.id_dropout = config.id_dropout
        for table in (self.query_id, self.item_id, *self.categories):
            _start_small(table)

    def texts(self, text: Tensor) -> Tensor:
        """(N, T) -> (N, D), of unit length, 0 for an empty text."""
        return functional.normalize(self.text(text), dim=-1)

    def kinds(self, categories: Tensor) -> Tensor:
        """(..., K) -> (..., K * category_dim)."""
        parts = [table(categories[..., index]) for index, table in enumerate(self.categories)]
        nothing = torch.zeros((*categories.shape[:-1], 0), device=categories.device)
        return torch.cat([nothing, *parts], dim=-1)

    def hide(self, ids: Tensor) -> Tensor:
        """In training, some ids become 'not known'."""
        if not self.training or self.id_dropout == 0:
            return ids
        return torch.where(torch.rand(ids.shape, device=ids.device) < self.id_dropout, 0, ids)


class Tower(nn.Module):
    """LayerNorm, then [Linear -> ReLU -> LayerNorm -> dropout], Linear, plus the text vector, each D at length 1.

    With ``masks``, a parallel MaskNet stands between the first norm and the layers.

    The text vector passes by the layers: an untrained tower already matches words, and training starts from there.
    """

    def __init__(self, width: int, config: TrainConfig, heads: int, masks: InteractRankConfig | None = None):
        super().__init__()
        layers: list[nn.Module] = [nn.LayerNorm(width)]
        if masks is not None and masks.blocks:
            layers.append(MaskNet(width, masks, config.dropout))
            width = masks.blocks * masks.block_width
        for hidden in config.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.LayerNorm(hidden), nn.Dropout(config.dropout)]
            width = hidden
        last = nn.Linear(width, heads * config.dim)
        nn.init.normal_(last.weight, std=0.5 / (width * config.dim) ** 0.5)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)
        self.heads = heads

    def forward(self, x: Tensor, text: Tensor) -> Tensor:
        blocks = self.layers(x).unflatten(1, (self.heads, -1))  # (R, width) -> (R, H, D)
        return functional.normalize(blocks + text.unsqueeze(1), dim=-1).flatten(1)  # (R, H*D)


class QueryInputs(nn.Module):
    """Query text and id, the user's segments and whatever else the model knows of the user, side by side."""

    def __init__(self, spec: FeatureSpec, config: TrainConfig, extra: int = 0):
        super().__init__()
        self.segments = nn.ModuleList(
            nn.Embedding(max(len(values), 1), config.category_dim, padding_idx=0) for values in spec.segments.values()
        )
        for table in self.segments:
            _start_small(table)
        self.width = config.dim + config.id_dim + config.category_dim * len(spec.segments) + extra

    def inputs(self, tables: Tables, queries: QueryFeatures, *extra: Tensor) -> tuple[Tensor, Tensor]:
        """All (R, width), and the text vector alone (R, D)."""
        text = tables.texts(queries.text)
        known = [table(queries.segments[:, index]) for index, table in enumerate(self.segments)]
        return torch.cat([text, tables.query_id(tables.hide(queries.query_id)), *known, *extra], dim=-1), text


class QueryTower(QueryInputs):
    """Query text and id, the user's segments and whatever else the model knows of the user -> (R, H*D)."""

    def __init__(self, spec: FeatureSpec, config: TrainConfig, extra: int = 0, masks: InteractRankConfig | None = None):
        super().__init__(spec, config, extra)
        self.tower = Tower(self.width, config, len(spec.heads), masks)

    def forward(self, tables: Tables, queries: QueryFeatures, *extra: Tensor) -> Tensor:
        q: Tensor = self.tower(*self.inputs(tables, queries, *extra))
        return q


@dataclass(frozen=True)
class NumericStatistics:
    """Mean and standard deviation of each numeric's signed logarithm, over the items of the training rows."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    forms: FormStatistics
    """What the mixture of several forms needs to know."""

    @classmethod
    def fit(cls, numerics: Tensor) -> "NumericStatistics":
        """(N, M), NaN not known."""
        curve = signed_log(numerics.double())
        seen = ~curve.isnan()
        count = seen.sum(0).clamp(min=1)
        mean = torch.where(seen, curve, 0.0).sum(0) / count
        std = (torch.where(seen, curve - mean, 0.0).square().sum(0) / count).sqrt()
        std = torch.where(std > 1e-6, std, 1.0)
        return cls(tuple(mean.tolist()), tuple(std.tolist()), FormStatistics.fit(numerics))


def signed_log(x: Tensor) -> Tensor:
    return x.sign() * x.abs().log1p()


class ItemTower(nn.Module):
    """Item text, id, categories, numerics and dense vectors -> (N, D)."""

    def __init__(
        self,
        spec: FeatureSpec,
        config: TrainConfig,
        numerics: NumericStatistics,
        masks: InteractRankConfig | None = None,
    ):
        super().__init__()
        self.numerics = NumericMixture(numerics.forms)
        self.dense_norm = nn.LayerNorm(spec.dense_width) if spec.dense_width else nn.Identity()
        width = config.dim + config.id_dim + config.category_dim * len(spec.categories)
        self.tower = Tower(width + self.numerics.width + spec.dense_width, config, 1, masks)

    def forward(self, tables: Tables, items: ItemFeatures) -> Tensor:
        text = tables.texts(items.text)
        parts = [
            text,
            tables.item_id(tables.hide(items.item_id)),
            tables.kinds(items.categories),
            self.numerics(items.numerics),
            self.dense_norm(items.dense),
        ]
        v: Tensor = self.tower(torch.cat(parts, dim=-1), text)
        return v


class HistoryEntries(nn.Module):
    """The user sequence, entry by entry: item and categories, projected, + action + relative time."""

    def __init__(self, spec: FeatureSpec, config: TrainConfig):
        super().__init__()
        width = config.id_dim + config.category_dim * len(spec.categories)
        self.project = nn.Linear(width, config.dim)
        self.action = nn.Embedding(len(spec.actions) + 1, config.dim, padding_idx=0)
        self.age = nn.Embedding(AGE_BUCKETS, config.dim, padding_idx=0)
        for table in (self.action, self.age):
            _start_small(table)

    def entries(self, tables: Tables, queries: QueryFeatures) -> Tensor:
        """(R, L, D); what stands at padding means nothing."""
        items = torch.cat([tables.item_id(queries.history_item), tables.kinds(queries.history_categories)], dim=-1)
        entries: Tensor = self.project(items) + self.action(queries.history_action) + self.age(queries.history_age)
        return entries


class WeightedPooling(HistoryEntries):
    """The user sequence by learned weighted pooling (InteractRank 1.3): u = sum_i alpha_i e_i.

    alpha_i is learned per position, action and age, and normalised over the entries that exist: padding never counts,
    and a short history is not a faint one.
    """

    def __init__(self, spec: FeatureSpec, config: TrainConfig):
        super().__init__(spec, config)
        self.position_weight = nn.Parameter(torch.zeros(spec.history_length))
        self.action_weight = nn.Parameter(torch.zeros(len(spec.actions) + 1))
        self.age_weight = nn.Parameter(torch.zeros(AGE_BUCKETS))

    def forward(self, tables: Tables, queries: QueryFeatures) -> Tensor:
        return self.pool(self.entries(tables, queries), queries)

    def pool(self, entries: Tensor, queries: QueryFeatures) -> Tensor:
        """(R, L, D) -> (R, D)."""
        action, age = queries.history_action.long(), queries.history_age.long()
        logits = self.position_weight + self.action_weight[action] + self.age_weight[age]  # (R, L)
        alpha = torch.where(action > 0, logits.exp(), 0.0)
        alpha = alpha / alpha.sum(dim=1, keepdim=True).clamp(min=1e-9)
        return torch.einsum("rl,rld->rd", alpha, entries)


def _start_small(table: nn.Module) -> None:
    assert isinstance(table, nn.Embedding)
    nn.init.normal_(table.weight, std=0.1)
    with torch.no_grad():
        table.weight[0].zero_()
