"""A batch of requests through a model, against a double-precision brute force over the same vectors."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from models.config import TrainConfig
from models.features import FeatureSpec
from models.fusion import Fusion, LinearFusionRanker
from models.registry import get_model
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from scoring.embed import ItemMatrix
from scoring.worker import Requests, query_features, rank

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
    return ItemMatrix(vectors, torch.cat([features.item_id[:, None], features.categories], dim=1).numpy())


def requests(sets: list[list[int]], histories: list[list[int]], best: list[list[int]] | None = None) -> Requests:
    count = len(sets)
    columns = {
        "query_key": pa.array(["red shoes", "boots", "hats"][:count]),
        "segment_values": pa.array([["DE"], [""], ["FR"]][:count]),
        "item_rows": pa.array(sets, pa.list_(pa.int32())),
        "items": pa.array([[IDS[row] for row in rows] for rows in sets], pa.list_(pa.string())),
        "cross": pa.array([[0.1 * (row not in (2, 3)) for row in rows] for rows in sets], pa.list_(pa.float64())),
        "history_rows": pa.array(histories, pa.list_(pa.int32())),
        "best_rows": pa.array(best or [[]] * count, pa.list_(pa.int32())),
        "history_actions": pa.array([[1] * len(rows) for rows in histories], pa.list_(pa.int8())),
        "history_ages": pa.array(
            [[60 * (1 + at) for at in range(len(rows))] for rows in histories], pa.list_(pa.int64())
        ),
    }
    return Requests(pa.RecordBatch.from_pydict(columns))


def brute_force(model: LinearFusionRanker, matrix: ItemMatrix, batch: Requests, k: int) -> list[list[str]]:
    with torch.inference_mode():
        blended = model.blended_query(query_features(batch, SPEC, matrix)).double().numpy()
    fusion: Fusion = model.fusion()
    best = []
    for vector, rows, cross in zip(blended, batch.lists("item_rows"), batch.lists("cross"), strict=True):
        scores = {
            IDS[row]: round(fusion.dot_weight * float(matrix.vectors[row].astype(float) @ vector) + float(extra), 5)
            for row, extra in zip(rows, cross, strict=True)
        }
        best.append(sorted(scores, key=lambda item: (-scores[item], item))[:k])
    return best


def ranked(batch: Requests, model: LinearFusionRanker, matrix: ItemMatrix, k: int) -> list[list[str]]:
    return [[entry["item_id"] for entry in row] for row in rank(batch, model, SPEC, matrix, k).to_pylist()]


@pytest.mark.parametrize("k", [1, 3, 100])
def test_rankings_equal_brute_force_with_ties_by_id(model, matrix, k):
    batch = requests([[0, 1, 3, 2, 8], [5, 4], []], [[1, 2], [], [7]])
    assert ranked(batch, model, matrix, k) == brute_force(model, matrix, batch, k)


def test_the_best_items_of_a_query_reach_its_vector_and_no_other(model, matrix):
    sets = [[0], [5]]
    lists = [list(range(9)) * 3, []]
    plain, listed = (query_features(requests(sets, [[], []], best), SPEC, matrix) for best in (None, lists))
    assert listed.top_item[0].tolist() == [int(matrix.buckets[row, 0]) for row in lists[0][:20]]
    assert not listed.top_item[1].any()
    different = (model.blended_query(plain) != model.blended_query(listed)).any(dim=1)
    assert different.tolist() == [True, False]


def test_a_slice_of_a_batch_ranks_as_the_whole_does(model, matrix):
    batch = requests([[0, 1], [5, 4, 6], [7, 8]], [[1], [2, 3], []])
    part = Requests(batch.batch.slice(1, 2))
    assert ranked(part, model, matrix, 9) == ranked(batch, model, matrix, 9)[1:]


def test_a_vector_that_is_no_number_stops_the_batch(model, matrix):
    broken = ItemMatrix(matrix.vectors.copy(), matrix.buckets)
    broken.vectors[4, 0] = np.nan
    with pytest.raises(ValueError, match="not a finite number"):
        rank(requests([[4]], [[]]), model, SPEC, broken, 1)
