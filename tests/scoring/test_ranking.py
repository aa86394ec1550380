"""Requests through Spark, against a double-precision brute force, however they are cut."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyspark.sql import DataFrame, SparkSession

from models.config import TrainConfig
from models.fusion import LinearFusionRanker
from models.model_dir import load, save
from models.registry import get_model
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from models.train import TrainResult
from scoring.config import CPU
from scoring.cross_lists import CrossLayout, pack
from scoring.item_matrix import MatrixPart, open_matrix, write_matrix
from scoring.query_side import query_features
from scoring.ranking import Ranking, ranked
from scoring.xxhash import xxhash64
from tests.models.export_fixture import World, manifest
from tests.scoring.test_worker import SPEC

pytestmark = pytest.mark.spark

ITEMS, SIZES, TOP, DIM = 400, [0, 1, 99, 100, 101, 250, *[150] * 15], 100, 8
IDS = [f"item {number:03d}" for number in range(ITEMS)]
CROSS = {row: float(np.sin(row)) for row in range(0, ITEMS, 3)}
LAYOUT = CrossLayout(("all",), ((0,),), 0.5)
SCHEMA = (
    "ds string, request_id string, query_key string, user_id string, segments map<string,string>, items array<string>, "
    "segment_values array<string>, lists array<binary>, rates binary, best_items array<bigint>, best_ids array<int>, "
    "history_items array<bigint>, history_ids array<int>, history_actions array<tinyint>, history_ages array<bigint>"
)


class Setting:
    """A model, its matrix in one shard and in three, and requests over it."""

    def __init__(self, spark: SparkSession, root: Path):
        torch.manual_seed(6)
        config = TrainConfig(dim=DIM, hidden=(16,), text_buckets=64, id_buckets=32, category_buckets=8, device="cpu")
        scaling = CrossScaling(SPEC.cross, (10.0,), (0.1,), (0.5,))
        model = get_model("interactrank")(SPEC, config, scaling, NumericStatistics.fit(torch.empty(0, 0)))
        result = TrainResult("interactrank", model, config, SPEC, scaling, [], 0, {})
        card = save(result, manifest(World(), (), np.zeros(2, int), False), root / "model")
        rng = np.random.default_rng(8)
        vectors = rng.standard_normal((ITEMS, DIM), dtype=np.float32)
        vectors[1::7] = vectors[0]  # ties, as long as the cross scores are equal too
        part = MatrixPart(pa.array(IDS), xxhash64(pa.array(IDS)), np.ones((ITEMS, 2), np.int32), vectors)
        for shards in (1, 3):
            rows = -(-ITEMS // shards)
            write_matrix(root / str(shards), [part], ITEMS, DIM, rows, (card.version, "2026-01-01", "d"))
        self.root, self.version = root, card.version
        chosen = [rng.choice(ITEMS, size, replace=False).tolist() for size in SIZES]
        packed = pack(np.array(list(CROSS)), np.array([[value] for value in CROSS.values()]))
        best = xxhash64(pa.array(IDS[:5])).tolist()
        self.rows = [
            ("2026-01-02", f"r{at:02d}", f"query {at % 4}", "u", {}, [IDS[row] for row in items], ["DE"],
             [bytearray(packed)], None, best[: at % 6], [1] * (at % 6), [], [], [], [])
            for at, items in enumerate(chosen)
        ]  # fmt: skip
        self.requests = spark.createDataFrame(self.rows, SCHEMA)

    def ranking(self, shards: int) -> Ranking:
        folder = str(self.root / str(shards))
        return Ranking(
            str(self.root / "model"), self.version, folder, f"d:{shards}", shards, LAYOUT, TOP,
            requests_per_batch=4, direct=False, device=CPU,
        )  # fmt: skip

    def ranked(self, requests: DataFrame, shards: int) -> dict[str, list[tuple[str, float]]]:
        rows = ranked(requests, self.ranking(shards), 2, in_order=False).collect()
        assert len(rows) == len(SIZES)
        assert {row.request_id: row.pairs for row in rows} == {row[1]: len(row[5]) for row in self.rows}
        return {row.request_id: [(one.item_id, one.score) for one in row.ranked] for row in rows}

    def brute_force(self) -> dict[str, dict[str, float]]:
        model, matrix = load(self.root / "model").model, open_matrix(self.root / "1")
        assert isinstance(model, LinearFusionRanker)
        names = [column.split()[0] for column in SCHEMA.split(", ")]
        columns = dict(zip(names, zip(*self.rows, strict=True), strict=True))
        batch = pa.record_batch(
            {
                "query_key": pa.array(columns["query_key"]),
                "segment_values": pa.array(columns["segment_values"]),
                **{name: pa.array(columns[name], pa.list_(pa.int64())) for name in names[-6:]},
            }
        )
        with torch.inference_mode():
            blended = model.blended_query(query_features(batch, SPEC, matrix)).double().numpy()
        scores = matrix.vectors.astype(float) @ (blended * model.fusion().dot_weight).T  # (N, R)
        return {
            row[1]: {item: scores[IDS.index(item), at] + CROSS.get(IDS.index(item), 0.0) + 0.5 for item in row[5]}
            for at, row in enumerate(self.rows)
        }


@pytest.fixture(scope="module")
def setting(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return Setting(spark, tmp_path_factory.mktemp("ranking"))


@pytest.fixture(scope="module")
def whole(setting: Setting) -> dict[str, list[tuple[str, float]]]:
    return setting.ranked(setting.requests.coalesce(1), 1)


def test_the_best_100_equal_a_brute_force_up_to_ties(setting: Setting, whole: dict[str, list[tuple[str, float]]]):
    for request_id, scores in setting.brute_force().items():
        order = sorted(scores.values(), reverse=True)[:TOP]
        found = whole[request_id]
        assert [score for _, score in found] == pytest.approx(order, abs=1e-5), request_id
        assert [scores[item] for item, _ in found] == pytest.approx(order, abs=1e-5), request_id
        assert found == sorted(found, key=lambda one: (-one[1], one[0])), request_id


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("partitions", [1, 2, 7])
def test_partitions_and_shards_change_no_bit(
    setting: Setting, whole: dict[str, list[tuple[str, float]]], partitions: int, shards: int
):
    assert setting.ranked(setting.requests.repartition(partitions, "request_id"), shards) == whole


def test_a_matrix_that_was_made_anew_in_between_stops_the_job(setting: Setting):
    stale: Any = replace(setting.ranking(1), stamp="of another catalogue")
    with pytest.raises(Exception, match="embedded anew"):
        ranked(setting.requests, stale, 1, in_order=True).collect()
