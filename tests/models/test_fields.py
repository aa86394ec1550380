from dataclasses import replace

import torch

from models.fields import ItemFields, QueryFields
from models.towers import NumericStatistics, Tables
from tests.models.model_fixture import CONFIG, SPEC, batch_of

WIDTH = 5
BATCH = batch_of([(0, 0)], [[0.0, 0.0]])
DENSE = replace(SPEC, dense=("vector",), dense_width=2)


def query_side(queries) -> torch.Tensor:
    torch.manual_seed(0)
    tables, fields = Tables(SPEC, CONFIG), QueryFields(SPEC, CONFIG, WIDTH)
    assert fields.names == ("text", "query_id", "segment:country", "history")
    return fields(tables, queries, tables.texts(queries.text))


def item_side(items, spec=SPEC) -> torch.Tensor:
    torch.manual_seed(0)
    statistics = replace(NumericStatistics.fit(torch.zeros(1, 1)), mean=(1.0,), std=(2.0,))
    tables, fields = Tables(spec, CONFIG), ItemFields(spec, CONFIG, statistics, WIDTH)
    assert fields.names == ("text", "item_id", "category:brand", "numeric:price", "dense")[: 4 + spec.dense_width // 2]
    return fields(tables, items, tables.texts(items.text))


def changed_fields(one: torch.Tensor, two: torch.Tensor) -> list[int]:
    return (one != two).any(dim=-1).any(dim=0).nonzero().flatten().tolist()


def test_each_feature_moves_its_own_field_only():
    queries, items = BATCH.queries, BATCH.items
    of_query, of_item = query_side(queries), item_side(items)
    assert (of_query.shape, of_item.shape) == ((3, 4, WIDTH), (4, 4, WIDTH))
    nothing = torch.zeros_like(queries.history_action)
    for field, changed in enumerate(
        ({"text": queries.text + 1}, {"query_id": queries.query_id + 1}, {"segments": (queries.segments + 1) % 3},
         {"history_action": nothing})
    ):  # fmt: skip
        assert changed_fields(of_query, query_side(replace(queries, **changed))) == [field]
    for field, changed in enumerate(
        ({"text": items.text + 1}, {"item_id": items.item_id + 1}, {"categories": items.categories + 1},
         {"numerics": items.numerics + 1})
    ):  # fmt: skip
        assert changed_fields(of_item, item_side(replace(items, **changed))) == [field]


def test_a_dense_vector_is_the_last_field():
    items = replace(BATCH.items, dense=torch.tensor([[1.0, 2.0]] * 4))
    other = replace(items, dense=torch.tensor([[2.0, 1.0]] * 4))
    assert changed_fields(item_side(items, DENSE), item_side(other, DENSE)) == [4]


def test_a_number_at_the_mean_is_zero_and_an_unknown_one_is_flagged():
    at_mean = torch.full((4, 1), float(torch.e) - 1)
    assert not item_side(replace(BATCH.items, numerics=at_mean))[:, 3].abs().gt(1e-6).any()
    unknown = item_side(replace(BATCH.items, numerics=torch.full((4, 1), torch.nan)))[:, 3]
    assert torch.isfinite(unknown).all()
    assert unknown.any()


def test_text_and_history_that_are_not_there_are_zero():
    blank = BATCH.queries._map(torch.zeros_like)
    assert not query_side(blank)[:, [0, 3]].any()
