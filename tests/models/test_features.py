"""Whatever no model could read is refused where arrays are made, for all models at once, naming the column."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.errors import ExportError, FeatureContractError
from models.features import FeatureSpec, HistoryRows

SPEC = FeatureSpec(
    heads=("engagement",),
    head_weights=(1.0,),
    actions=("impression", "click"),
    segments={"country": ("", "DE", "FR"), "gender": ()},
    cross=(),
    categories=("brand", "colour"),
    numerics=("price", "age"),
    dense=("vector",),
    dense_width=3,
    text_buckets=64,
    id_buckets=64,
    category_buckets=8,
    ngram=3,
    max_text_features=5,
    history_length=4,
)
ITEMS = {
    "item_ids": ["a", "b"],
    "texts": ["red shoe", ""],
    "categories": [["acme", "red"], ["", "blue"]],
    "numerics": np.array([[1.0, np.nan], [2.0, 3.0]]),
    "dense": np.zeros((2, 3), dtype=np.float32),
}
VALID = np.array([[True, True, False, False]])
HISTORY = HistoryRows(
    items=np.array([[1, 0, 0, 0]], dtype=np.int32),
    actions=np.array([[1, 0, 0, 0]], dtype=np.int8),
    age_seconds=np.zeros((1, 4), dtype=np.int64),
    valid=VALID,
)
QUERIES = {
    "text": np.zeros((1, 5), dtype=np.int32),
    "query_id": np.zeros(1, dtype=np.int32),
    "segments": np.array([[2, 0]], dtype=np.int32),
    "history": HISTORY,
    "best": np.array([[1, -1]], dtype=np.int32),
}


def queries(**changed):
    return SPEC.query_features(**QUERIES | changed, items=SPEC.item_features(**ITEMS))


def test_what_the_model_was_made_for_passes_and_an_unknown_number_is_no_error():
    assert torch.isnan(SPEC.item_features(**ITEMS).numerics[0, 1])
    assert queries().history_action.tolist() == [[2, 1, 0, 0]]


@pytest.mark.parametrize(
    ("column", "changed"),
    [
        ("text", {"texts": ["red shoe"]}),
        ("categories", {"categories": [["acme", "red"]]}),
        ("categories of an item", {"categories": [["acme", "red"], ["acme"]]}),
        ("categories of an item", {"categories": [["acme", "red", "wool"], ["acme", "red"]]}),
        ("numerics", {"numerics": np.zeros((2, 1))}),
        ("numerics", {"numerics": np.zeros((1, 4))}),
        ("dense", {"dense": np.zeros((2, 4), dtype=np.float32)}),
    ],
)
def test_items_of_another_width_are_refused(column: str, changed: dict):
    with pytest.raises(FeatureContractError, match=rf"disagree about '{column}'.*shape") as caught:
        SPEC.item_features(**ITEMS | changed)
    assert caught.value.column == column


@pytest.mark.parametrize(
    ("named", "changed"),
    [
        ("a dense vector holds NaN", {"dense": np.array([[0, np.nan, 0]] * 2, dtype=np.float32)}),
        ("numeric 'age' exceeds float32", {"numerics": np.array([[1.0, np.inf], [1.0, 2.0]])}),
        ("numeric 'price' exceeds float32", {"numerics": np.array([[-1e39, 1.0], [1.0, 2.0]])}),
    ],
)
def test_item_values_that_are_no_numbers_are_refused(named: str, changed: dict):
    with pytest.raises(ExportError, match=named):
        SPEC.item_features(**ITEMS | changed)


@pytest.mark.parametrize(
    ("column", "changed"),
    [
        ("query text", {"text": np.zeros((1, 6), dtype=np.int32)}),
        ("query text", {"text": np.zeros((2, 5), dtype=np.int32)}),
        ("segments", {"segments": np.zeros((1, 3), dtype=np.int32)}),
        ("segments.country", {"segments": np.array([[3, 0]], dtype=np.int32)}),
        ("segments.gender", {"segments": np.array([[0, 1]], dtype=np.int32)}),
        ("history actions", {"history": replace(HISTORY, actions=np.array([[2, 0, 0, 0]], dtype=np.int8))}),
        ("history actions", {"history": replace(HISTORY, actions=np.array([[0, -1, 0, 0]], dtype=np.int8))}),
        ("history valid", {"history": replace(HISTORY, valid=VALID[:, :3])}),
    ],
)
def test_queries_that_the_model_was_not_made_for_are_refused(column: str, changed: dict):
    with pytest.raises(FeatureContractError, match=rf"disagree about '{column}'") as caught:
        queries(**changed)
    assert caught.value.column == column


def test_an_unknown_action_is_shown_beside_the_known_ones_and_survives_pickling():
    with pytest.raises(FeatureContractError, match=r"0 to 1 \(impression, click\)', the data has 7") as caught:
        queries(history=replace(HISTORY, actions=np.array([[7, 0, 0, 0]], dtype=np.int8)))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("row", [-1, 2])
def test_a_history_of_items_that_do_not_exist_is_refused(row: int):
    with pytest.raises(ExportError, match=r"column 'items' spans .* expected 0 to 1"):
        queries(history=replace(HISTORY, items=np.array([[row, 0, 0, 0]], dtype=np.int32)))


def test_padding_of_a_history_is_not_looked_at():
    noise = np.where(VALID, HISTORY.actions, 99).astype(np.int8)
    assert queries(history=replace(HISTORY, actions=noise)).history_action.tolist() == [[2, 1, 0, 0]]


def test_best_items_are_looked_up_and_those_that_do_not_exist_are_refused():
    best = queries()
    known = SPEC.item_features(**ITEMS)
    assert best.top_item.tolist() == [[known.item_id[1], 0]]
    assert best.top_categories.tolist() == [[known.categories[1].tolist(), [0, 0]]]
    with pytest.raises(ExportError, match=r"query_items: column 'items' spans 2 to 2, expected 0 to 1"):
        queries(best=np.array([[2, -1]], dtype=np.int32))
