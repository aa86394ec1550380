"""What tests of single models share: a small feature contract, batches built by hand, untrained models, FLOPs."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from models.config import TrainConfig
from models.contract import Batch, ItemFeatures, QueryFeatures, Ranker
from models.features import FeatureSpec
from models.registry import get_model
from models.scaling import CrossScaling
from models.towers import NumericStatistics

SPEC = FeatureSpec(
    heads=("engagement", "purchase"),
    head_weights=(3.0, 1.0),
    actions=("impression", "click"),
    segments={"country": ("", "DE", "FR")},
    cross=(),
    categories=("brand",),
    numerics=("price",),
    dense=(),
    dense_width=0,
    text_buckets=64,
    id_buckets=32,
    category_buckets=16,
    ngram=3,
    max_text_features=4,
    history_length=3,
)
CONFIG = TrainConfig(dim=8, hidden=(12,), id_dim=6, category_dim=4, dropout=0.0, id_dropout=0.0, device="cpu")


def untrained(name: str, config: TrainConfig = CONFIG, spec: FeatureSpec = SPEC) -> Ranker:
    width = len(spec.numerics)
    numerics = NumericStatistics.fit(torch.zeros(1, width))
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return get_model(name)(spec, config, CrossScaling((), (), (), ()), numerics).eval()


def batch_of(
    pairs: list[tuple[int, int]], labels: list[list[float]], weight: list[float] | None = None, **changed: Any
) -> Batch:
    """Pairs (query, item) of 3 queries and 4 items with ids 1, 2, .. and features that follow from the ids."""
    count = len(pairs)
    weights = torch.ones(count) if weight is None else torch.tensor(weight)
    whole = {
        "queries": _queries(3),
        "items": _items(4),
        "item_row": torch.arange(4),
        "item_number": torch.arange(4),
        "pair_query": torch.tensor([query for query, _ in pairs], dtype=torch.int64),
        "pair_item": torch.tensor([item for _, item in pairs], dtype=torch.int64),
        "cross": torch.zeros(count, 0),
        "labels": torch.tensor(labels).reshape(count, len(SPEC.heads)),
        "weight": weights,
        "rows": torch.arange(count),
        "total_weight": weights.sum(),
        "total_positives": (torch.tensor(labels) > 0).sum().float(),
    }
    return Batch(**whole | changed)


def matrix_flops(model: Ranker, q: Tensor, v: Tensor, cross: Tensor) -> int:
    """FLOPs of the matrix products in ``score``, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        model.score(q, v, cross)
    return counter.get_total_flops()


def _queries(count: int) -> QueryFeatures:
    ids = torch.arange(1, count + 1, dtype=torch.int32)
    seen = torch.arange(3) < ids.unsqueeze(1)  # (R, 3)
    return QueryFeatures(
        text=ids.unsqueeze(1) + torch.arange(4, dtype=torch.int32),
        query_id=ids,
        segments=(ids % 3).unsqueeze(1),
        history_item=torch.where(seen, 7, 0).int(),
        history_categories=torch.where(seen, 3, 0).int().unsqueeze(-1),
        history_action=torch.where(seen, 2, 0).int(),
        history_age=torch.where(seen, 5, 0).int(),
        top_item=torch.where(seen, 6, 0).int(),
        top_categories=torch.where(seen, 2, 0).int().unsqueeze(-1),
    )


def _items(count: int) -> ItemFeatures:
    ids = torch.arange(1, count + 1, dtype=torch.int32)
    return ItemFeatures(
        text=2 * ids.unsqueeze(1) + torch.arange(4, dtype=torch.int32),
        item_id=ids,
        categories=(1 + ids % 2).unsqueeze(1),
        numerics=torch.where(ids == 1, torch.nan, ids.float()).unsqueeze(1),
        dense=torch.zeros(count, 0),
    )
