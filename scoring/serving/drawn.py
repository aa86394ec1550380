"""Features of no real query or item, each within its range: what programs are traced on and compared at.

Padding and what is not known are among them, and the same number of rows is always the same rows.
"""

import torch
from torch import Tensor

from etl.contract.manifest import QUERY_ITEMS_LENGTH
from models.contract import ItemFeatures, QueryFeatures
from models.features import FeatureSpec
from models.hashing import AGE_BUCKETS

_NOT_KNOWN = 0.2


def drawn_queries(spec: FeatureSpec, rows: int) -> QueryFeatures:
    """(R,) with R = ``rows``."""
    draw, length, kinds = _Draw(rows), spec.history_length, len(spec.categories)
    segments = [draw.ids(max(len(values), 1), 1) for values in spec.segments.values()]
    return QueryFeatures(
        text=draw.ids(spec.text_buckets, spec.max_text_features),
        query_id=draw.ids(spec.id_buckets),
        segments=torch.cat([torch.zeros(rows, 0, dtype=torch.int32), *segments], dim=1),
        history_item=draw.ids(spec.id_buckets, length),
        history_categories=draw.ids(spec.category_buckets, length, kinds),
        history_action=draw.ids(len(spec.actions) + 1, length),
        history_age=draw.ids(AGE_BUCKETS, length),
        top_item=draw.ids(spec.id_buckets, QUERY_ITEMS_LENGTH),
        top_categories=draw.ids(spec.category_buckets, QUERY_ITEMS_LENGTH, kinds),
    )


def drawn_items(spec: FeatureSpec, rows: int) -> ItemFeatures:
    """(N,) with N = ``rows``."""
    draw = _Draw(rows)
    numerics = draw.numbers(len(spec.numerics)) * 50
    return ItemFeatures(
        text=draw.ids(spec.text_buckets, spec.max_text_features),
        item_id=draw.ids(spec.id_buckets),
        categories=draw.ids(spec.category_buckets, len(spec.categories)),
        numerics=torch.where(draw.numbers(len(spec.numerics)) < _NOT_KNOWN, torch.nan, numerics),
        dense=draw.numbers(spec.dense_width) - 0.5,
    )


def drawn_cross(width: int, rows: int) -> Tensor:
    """(P, C) with P = ``rows``."""
    return _Draw(rows).numbers(width) * 5


class _Draw:
    def __init__(self, rows: int):
        self.rows, self.generator = rows, torch.Generator().manual_seed(rows)

    def ids(self, buckets: int, *shape: int) -> Tensor:
        """0 is 'not known': one in five at least."""
        drawn = torch.randint(buckets, (self.rows, *shape), generator=self.generator, dtype=torch.int32)
        hidden = torch.rand(drawn.shape, generator=self.generator) < _NOT_KNOWN
        return torch.where(hidden, 0, drawn)

    def numbers(self, *shape: int) -> Tensor:
        return torch.rand((self.rows, *shape), generator=self.generator)
