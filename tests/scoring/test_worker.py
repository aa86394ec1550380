"""A batch of requests through a worker, against a double-precision brute force over the same vectors."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from models.config import TrainConfig
from models.features import FeatureSpec
from models.fusion import LinearFusionRanker
from models.hashing import bucket
from models.registry import get_model
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from scoring.candidate_files import hashed_lists
from scoring.cross_lists import CrossLayout, pack
from scoring.item_matrix import ItemMatrix, MatrixPart, matrix_of, write_matrix
from scoring.query_side import query_features
from scoring.worker import COUNTS, Limits, Worker
from scoring.xxhash import xxhash64

CONFIG = TrainConfig(dim=8, hidden=(16,), id_dim=4, category_dim=4, text_buckets=64, id_buckets=32, category_buckets=8)
SPEC = FeatureSpec(
    heads=("engagement", "purchase"),
    head_weights=(20.0, 7.0),
    actions=("impression", "click"),
    segments={"country": ("", "DE")},
    cross=("all__click_share_7d",),
    categories=("leaf",),
    numerics=(),
    dense=(),
    dense_width=0,
    text_buckets=64,
    id_buckets=32,
    category_buckets=8,
    ngram=3,
    max_text_features=8,
    history_length=4,
)
IDS = [f"i{number}" for number in range(9)]
CONSTANT = 0.5
LAYOUT = CrossLayout(("all",), ((0,),), CONSTANT)
#: What the query's interactions add to some items; the two that tie have nothing.
CROSS = {0: 0.75, 4: 0.25, 8: -1.0}


@pytest.fixture(scope="module")
def model() -> LinearFusionRanker:
    torch.manual_seed(5)
    scaling = CrossScaling(SPEC.cross, (10.0,), (0.1,), (0.5,))
    built = get_model("interactrank")(SPEC, CONFIG, scaling, NumericStatistics.fit(torch.empty(0, 0)))
    assert isinstance(built, LinearFusionRanker)
    return built.eval()


@pytest.fixture(scope="module")
def matrix(model: LinearFusionRanker) -> ItemMatrix:
    features = SPEC.item_features(IDS, IDS, [["leaf"]] * 9, np.zeros((9, 0)), np.zeros((9, 0), dtype=np.float32))
    with torch.inference_mode():
        vectors = model.encode_item(features).numpy()
    vectors[3] = vectors[2]  # a tie, whatever the query is
    buckets = torch.cat([features.item_id[:, None], features.categories], dim=1).numpy()
    return matrix_of(IDS, xxhash64(pa.array(IDS)), vectors, buckets)


def requests(
    sets: list[list[str]], lists: list[list[int]] | None = None, best: list[list[int]] | None = None
) -> pa.RecordBatch:
    count = len(sets)
    hashes = xxhash64(pa.array(IDS))

    def listed(name: str, rows: list[list[int]]) -> dict[str, pa.ListArray]:
        items = [[int(hashes[row]) for row in one] for one in rows]
        ids = [[bucket(IDS[row], SPEC.id_buckets) for row in one] for one in rows]
        return {
            f"{name}_items": pa.array(items, pa.list_(pa.int64())),
            f"{name}_ids": pa.array(ids, pa.list_(pa.int32())),
        }

    history = lists or [[]] * count
    return pa.RecordBatch.from_pydict(
        {
            "request_id": [f"r{number}" for number in range(count)],
            "query_key": pa.array(["red shoes", "boots", "hats"][:count]),
            "segment_values": pa.array([["DE"], [""], ["FR"]][:count]),
            "items": pa.array(sets, pa.list_(pa.string())),
            "lists": pa.array([[packed()]] * count, pa.list_(pa.binary())),
            "rates": pa.array([None] * count, pa.binary()),
            **listed("best", best or [[]] * count),
            **listed("history", history),
            "history_actions": pa.array([[1] * len(rows) for rows in history], pa.list_(pa.int8())),
            "history_ages": pa.array(
                [[60 * (1 + at) for at in range(len(rows))] for rows in history], pa.list_(pa.int64())
            ),
        }
    )


def packed() -> bytes:
    return pack(np.array(list(CROSS)), np.array([[value] for value in CROSS.values()]))


def rank(
    model: LinearFusionRanker, matrix: ItemMatrix, batch: pa.RecordBatch, k: int, shard: int = 0, pairs: int = 4
) -> list[dict[str, object]]:
    loaded = SimpleNamespace(model=model, card=SimpleNamespace(spec=SPEC))
    worker = Worker(loaded, LAYOUT, matrix, Limits(k, 2, pairs), torch.device("cpu"), shard)
    return [
        row
        for part in worker.rank([batch], ("request_id",), lambda one: hashed_lists(one["items"]))
        for row in part.to_pylist()
    ]


def brute_force(model: LinearFusionRanker, matrix: ItemMatrix, batch: pa.RecordBatch, k: int) -> list[list[str]]:
    with torch.inference_mode():
        blended = model.blended_query(query_features(batch, SPEC, matrix)).double().numpy()
    best = []
    for vector, items in zip(blended, batch["items"].to_pylist(), strict=True):
        rows = {IDS.index(item) for item in items if item in IDS}
        scores = {
            IDS[row]: round(model.fusion().dot_weight * float(matrix.vectors[row].astype(float) @ vector) + CONSTANT
                            + CROSS.get(row, 0.0), 5)
            for row in rows
        }  # fmt: skip
        best.append(sorted(scores, key=lambda item: (-scores[item], item))[:k])
    return best


def items_of(rows: list[dict[str, object]]) -> list[list[str]]:
    return [[one["item_id"] for one in row["ranked"]] for row in rows]


SETS = [["i0", "i1", "i3", "i2", "i8"], ["i5", "i4"], []]


@pytest.mark.parametrize("k", [1, 3, 100])
@pytest.mark.parametrize("pairs", [1, 4, 99])
def test_rankings_equal_brute_force_with_ties_by_id(model, matrix, k, pairs):
    batch = requests(SETS, [[1, 2], [], [7]])
    assert items_of(rank(model, matrix, batch, k, pairs=pairs)) == brute_force(model, matrix, batch, k)


def test_what_is_unknown_or_named_twice_is_counted_and_never_ranked(model, matrix):
    batch = requests([["i1", "x", "i1", "i2", "x", "y", "x"], ["x"], []])
    for pairs in (4, 99):  # requests of one block may name the same unknown item
        rows = rank(model, matrix, batch, 9, pairs=pairs)
        assert items_of(rows) == brute_force(model, matrix, batch, 9)
        assert [[row[name] for name in COUNTS] for row in rows] == [[4, 2, 0, 3], [1, 1, 0, 0], [0, 0, 0, 0]]


def test_a_pair_without_a_finite_score_is_counted_and_never_ranked(model, matrix):
    vectors = matrix.vectors.copy()
    vectors[4, 0] = np.nan
    broken = matrix_of(IDS, matrix.hashes, vectors, matrix.buckets)
    rows = rank(model, broken, requests([["i4", "i1", "i4"], ["i4"]]), 9, pairs=99)
    assert items_of(rows) == [["i1"], []]
    assert [[row[name] for name in COUNTS] for row in rows] == [[2, 0, 1, 1], [1, 0, 1, 0]]


def test_shards_together_score_and_count_as_one_matrix_does(model, matrix, tmp_path):
    part = MatrixPart(matrix.ids, matrix.hashes, matrix.buckets, matrix.vectors)
    split = write_matrix(tmp_path / "m", [part], 9, matrix.vectors.shape[1], 4, ("v", "2026-01-01", "d"))
    batch = requests([["i1", "x", "i1", "i8", "i4", "i5"], ["x", "x"], ["i0"]])
    whole = rank(model, matrix, batch, 9)
    parts = [rank(model, split, batch, 9, shard) for shard in range(3)]
    for number, row in enumerate(whole):
        shards = [shard[number] for shard in parts]
        assert [sum(one[name] for one in shards) for name in COUNTS] == [row[name] for name in COUNTS]
        merged = sorted(
            (one for shard in shards for one in shard["ranked"]), key=lambda one: (-one["score"], one["item_id"])
        )
        assert merged == row["ranked"]


def test_the_best_items_of_a_query_reach_its_vector_and_no_other(model, matrix):
    lists = [list(range(9)) * 3, []]
    plain, listed = (query_features(requests([["i0"], ["i5"]], None, best), SPEC, matrix) for best in (None, lists))
    assert listed.top_item[0].tolist() == [int(matrix.buckets[row, 0]) for row in lists[0][:20]]
    assert not listed.top_item[1].any()
    different = (model.blended_query(plain) != model.blended_query(listed)).any(dim=1)
    assert different.tolist() == [True, False]


@pytest.mark.parametrize("name", ["history", "best"])
def test_an_item_that_the_matrix_does_not_hold_keeps_its_place_and_its_id(matrix, name):
    rows = [[3, 5, 1, 0, 2]]
    batch = requests([[]], rows, rows)
    items = batch[f"{name}_items"].to_pylist()
    items[0][1] = 12345
    batch = batch.set_column(batch.schema.get_field_index(f"{name}_items"), f"{name}_items", pa.array(items))
    features = query_features(batch, SPEC, matrix)
    ids, kinds, length = {
        "history": (features.history_item, features.history_categories, 4),
        "best": (features.top_item, features.top_categories, 5),
    }[name]
    assert ids[0, :length].tolist() == [int(matrix.buckets[row, 0]) for row in rows[0][:length]]
    expected = [0 if row == 5 else int(matrix.buckets[row, 1]) for row in rows[0][:length]]
    assert kinds[0, :length, 0].tolist() == expected
    assert features.history_age[0].tolist() == [1] * 4
    assert features.history_action[0].tolist() == [2] * 4


def test_the_other_requests_of_a_batch_change_no_bit(model, matrix):
    batch = requests(SETS, [[1], [2, 3], []])
    alone = [row for at in range(3) for row in rank(model, matrix, batch.slice(at, 1), 9)]
    assert alone == rank(model, matrix, batch, 9)
