"""Packed lists: built from sorted rows in batches of any size, and looked up as a dictionary would be."""

import numpy as np
import pyarrow as pa
import pytest

from models.fusion import Fusion
from models.scaling import CrossScaling
from scoring.cross_lists import CrossLayout, CrossScatter, pack, packed_lists, unpack
from scoring.item_matrix import ItemMatrix, matrix_of

HASHES = np.array([10, 11, 12, 13], dtype=np.int64)


@pytest.fixture
def matrix() -> ItemMatrix:
    return matrix_of(["a", "b", "c", "d"], HASHES, np.zeros((4, 1), np.float32), np.zeros((4, 1), np.int32))


@pytest.mark.parametrize("size", [1, 2, 3, 99])
def test_lists_do_not_depend_on_where_batches_end(matrix, size):
    rows = [("q", "all", 10, [1.0, 2.0]), ("q", "all", 12, [3.0, 4.0]), ("q", "rates", 10, [5.0]),
            ("r", "de", 99, [0.0]), ("s", "all", 99, [9.0, 9.0]), ("s", "all", 13, [7.0, 8.0])]  # fmt: skip
    names = ("query_key", "name", "item", "values")
    kinds = (pa.string(), pa.string(), pa.int64(), pa.list_(pa.float32()))
    batches = [
        pa.RecordBatch.from_arrays(
            [
                pa.array(column, kind)
                for column, kind in zip(zip(*rows[low : low + size], strict=True), kinds, strict=True)
            ],
            names,
        )
        for low in range(0, len(rows), size)
    ]
    found = {}
    for batch in packed_lists(batches, matrix):
        for row in batch.to_pylist():
            items, values = unpack(row["packed"], 1 if row["name"] == "rates" else 2)
            assert (row["query_key"], row["name"]) not in found
            found[row["query_key"], row["name"]] = (items.tolist(), values.tolist())
    assert found == {
        ("q", "all"): ([0, 2], [[1.0, 2.0], [3.0, 4.0]]), ("q", "rates"): ([0], [[5.0]]), ("r", "de"): ([], []),
        ("s", "all"): ([3], [[7.0, 8.0]]),
    }  # fmt: skip


def test_a_linear_fusion_sums_its_segments_and_falls_back_on_rates():
    layout = CrossLayout(("all", "country"), ((0,), (1,)), constant=0.25)
    scatter = CrossScatter(layout, 4)
    everyone, german = pack(np.array([1, 2]), np.array([[1.0], [2.0]])), pack(np.array([2]), np.array([[4.0]]))
    rates = pack(np.array([0, 2]), np.array([[0.5, 8.0], [16.0, 32.0]]))
    rows = np.array([2, 0, 3, 1], np.int32)
    assert scatter.folded(rows, [everyone, german], None).tolist() == [6.25, 0.25, 0.25, 1.25]
    assert scatter.folded(rows, [everyone, None], rates).tolist() == [34.25, 8.75, 0.25, 1.25]
    assert scatter.folded(rows, [None, None], rates).tolist() == [48.25, 8.75, 0.25, 0.25]
    assert scatter.folded(rows, [None, None], None).tolist() == [0.25] * 4  # nothing of the others is left behind


def test_features_of_a_pair_are_those_of_its_rows_or_of_its_rates():
    layout = CrossLayout(("all", "country"), ((0, 2), (1,)))
    scatter = CrossScatter(layout, 4)
    everyone, german = pack(np.array([1]), np.array([[1.0, 2.0]])), pack(np.array([2]), np.array([[4.0]]))
    rates = pack(np.array([1, 2]), np.array([[7.0, 8.0, 9.0], [10.0, 11.0, 12.0]]))
    rows = np.array([1, 2, 3], np.int32)
    assert scatter.features(rows, [everyone, german], None).tolist() == [[1, 0, 2], [0, 4, 0], [0, 0, 0]]
    assert scatter.features(rows, [everyone, german], rates).tolist() == [[1, 8, 2], [10, 4, 12], [0, 0, 0]]
    assert scatter.features(rows, [None, None], None).tolist() == [[0, 0, 0]] * 3


def test_a_fusions_terms_are_its_cross_score():
    scaling = CrossScaling(("all__click_share_7d", "country__has_history"), (10.0, 1.0), (0.1, 0.5), (0.5, 0.5))
    fusion = Fusion(2.0, (0.7, -0.2), (0.3,), (1.0,), scaling)
    values = np.array([[0.25, 1.0]])
    sums = [term.slope * np.log1p(term.rate * value) for term, value in zip(fusion.terms(), values[0], strict=True)]
    layout = CrossLayout(("all", "country"), ((0,), (1,)), fusion.constant())
    lists = [pack(np.array([0]), np.array([[one]])) for one in sums]
    found = CrossScatter(layout, 1).folded(np.array([0], np.int32), lists, None)
    assert found == pytest.approx(fusion.cross_score(values), abs=1e-6)
