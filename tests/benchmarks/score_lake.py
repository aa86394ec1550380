"""A lake to score: candidate sets of string ids, a catalogue, folded interactions, a model; and its parts as arrays.

Item vectors are drawn, not embedded: what is measured begins where they lie ready. Built once per size under scratch.
"""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl.config import EventsConfig, ExportConfig, HeadConfig, InteractionsConfig, ItemsConfig, LakeConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.contract.settings import digest
from etl.cross import cross_names
from etl.definitions import definition_hash
from etl.lake import Lake
from etl.runs import Run
from etl.write import Output, replace_partitions
from models.config import TrainConfig
from models.features import FeatureSpec
from models.model_dir import load, save
from models.registry import get_model
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from models.train import TrainResult
from scoring.config import PrerankConfig, ScoreConfig
from scoring.item_matrix import MatrixPart, write_matrix
from scoring.item_vectors import hashed_catalogue, matrix_folder, snapshot_digest
from scoring.xxhash import xxhash64
from tests.models.export_fixture import World, manifest

SCRATCH = Path(__file__).parents[2] / "scratch" / "bench-score"
DS = "2026-03-31"
YESTERDAY = shift_ds(DS, -1)
CANDIDATES, DIM, QUERIES, SEEN = 1000, 64, 500, 200
ACTIONS = ("impression", "click")


@dataclass(frozen=True)
class ScoreLake:
    lake: Lake
    config: PrerankConfig
    model_dir: Path
    pairs: int
    items: int

    def again(self) -> Lake:
        """The lake as a new job opens it."""
        return Lake(self.lake.spark, self.lake.root)


def score_lake(spark: SparkSession, pairs: int, items: int) -> ScoreLake:
    """``pairs / 1000`` requests of 1000 distinct items each, of ``items`` in the catalogue; 500 queries, each with 200
    interactions under (all, '')."""
    root = SCRATCH / f"{pairs}-{items}"
    config = _config(root)
    lake, model_dir = Lake(spark, config.lake.root), root / "model"
    if not (root / "done").exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        rng = np.random.default_rng(7)
        _save_model(config, model_dir)
        ids = item_ids(items)
        _catalogue(lake, config, ids)
        _interactions(lake, config, ids, rng)
        _candidates(lake, config, root, ids, pairs // CANDIDATES, rng)
        _vectors(lake, config, model_dir, ids, rng)
        (root / "done").touch()
    return ScoreLake(lake, config, model_dir, pairs, items)


def item_ids(items: int) -> pa.StringArray:
    return pa.array([f"item-{number:08d}" for number in range(items)])


def _config(root: Path) -> PrerankConfig:
    return PrerankConfig(
        lake=LakeConfig(str(root / "lake")),
        events=EventsConfig(actions=ACTIONS, segments=()),
        interactions=InteractionsConfig(windows_days=(7,), half_lives_days=(14,), families=("share", "decay")),
        items=ItemsConfig(categories=("category",)),
        heads=(HeadConfig("engagement", ("click",)),),
        export=ExportConfig(cross_families=("share", "decay")),
        train=TrainConfig(dim=DIM, device="cpu"),
        score=ScoreConfig(vectors_root=str(root / "vectors")),
    )


def _save_model(config: PrerankConfig, directory: Path) -> None:
    torch.manual_seed(1)
    names = tuple(cross_names(config))
    shown = dataclasses.replace(
        manifest(World(), (), np.zeros(2, int), False), cross=names, segments={}, actions=ACTIONS, numerics=(), dense=()
    )  # fmt: skip
    spec = FeatureSpec.of(shown, 0, config.train)
    count = len(names)
    scaling = CrossScaling(names, (10.0,) * count, (0.1,) * count, (0.5,) * count)
    model = get_model("interactrank")(spec, config.train, scaling, NumericStatistics.fit(torch.empty(0, 0)))
    with torch.no_grad():
        model.fusion_layer.weight.uniform_(-1, 1)
    save(TrainResult("interactrank", model, config.train, spec, scaling, [], 0, {}), shown, directory)


def _write(lake: Lake, config: PrerankConfig, table: str, frame: DataFrame, ds: str, key: tuple[str, ...]) -> None:
    run = Run("bench", digest(config), definition_hash(table, config))
    replace_partitions(lake, [Output(table, frame, DateRange(ds, ds), key)], run)


def _catalogue(lake: Lake, config: PrerankConfig, ids: pa.StringArray) -> None:
    nothing = F.map_from_arrays(F.array().cast("array<string>"), F.array().cast("array<string>"))
    frame = lake.spark.range(len(ids)).select(
        F.lit(YESTERDAY).alias("ds"),
        F.format_string("item-%08d", "id").alias("item_id"),
        F.concat(F.lit("thing "), F.pmod("id", F.lit(1000))).alias("text"),
        nothing.alias("categories"), nothing.cast("map<string,double>").alias("numerics"),
        F.map_from_arrays(F.array().cast("array<string>"), F.array().cast("array<array<float>>")).alias("dense"),
    )  # fmt: skip
    _write(lake, config, c.ITEMS, frame, YESTERDAY, ("item_id",))


def _interactions(lake: Lake, config: PrerankConfig, ids: pa.StringArray, rng: np.random.Generator) -> None:
    seen = np.concatenate([rng.choice(len(ids), SEEN, replace=False) for _ in range(QUERIES)])
    number = np.arange(QUERIES).repeat(SEEN)
    table = {
        "ds": [YESTERDAY] * len(seen),
        "query_key": [f"query {q}" for q in number.tolist()],
        "item_id": ids.take(pa.array(seen)),
        "segment_name": ["all"] * len(seen),
        "segment_value": [""] * len(seen),
    }
    for action in ACTIONS:
        table[c.window_share(action, 7)] = rng.random(len(seen))
        table[c.decayed(action, 14)] = rng.random(len(seen)) * 9
    frame = lake.spark.createDataFrame(pa.table(table))
    _write(lake, config, c.INTERACTIONS, frame, YESTERDAY, c.PAIR_KEY)
    best = frame.groupBy("ds", "query_key").agg(F.slice(F.sort_array(F.collect_list("item_id")), 1, 20).alias("items"))
    _write(lake, config, c.QUERY_ITEMS, best, YESTERDAY, ("query_key",))
    clicks = frame.limit(1000).select(
        F.concat("query_key", "item_id").alias("event_id"), "query_key", "item_id", F.lit("click").alias("action"),
        F.lit("user 1").alias("user_id"), F.lit(f"{YESTERDAY} 10:00:00").cast("timestamp").alias("ts"), "ds",
    )  # fmt: skip
    _write(lake, config, c.EVENTS, clicks, YESTERDAY, ("event_id",))


def _candidates(
    lake: Lake, config: PrerankConfig, root: Path, ids: pa.StringArray, requests: int, rng: np.random.Generator
) -> None:
    raw = root / "raw"
    raw.mkdir()
    for low in range(0, requests, 2500):
        count = min(2500, requests - low)
        chosen = np.concatenate([rng.choice(len(ids), CANDIDATES, replace=False) for _ in range(count)])
        offsets = pa.array(np.arange(count + 1) * CANDIDATES, pa.int32())
        columns = {
            "request_id": [f"request {low + number:08d}" for number in range(count)],
            "query_key": [f"query {number}" for number in rng.integers(0, QUERIES, count).tolist()],
            "user_id": [f"user {number}" for number in rng.integers(0, 5000, count).tolist()],
            "items": pa.ListArray.from_arrays(offsets, ids.take(pa.array(chosen))),
        }
        pq.write_table(pa.table(columns), raw / f"{low}.parquet")
    nothing = F.array().cast("array<string>")
    frame = lake.spark.read.parquet(str(raw)).select(
        F.lit(DS).alias("ds"), "*", F.map_from_arrays(nothing, nothing).alias("segments")
    )
    _write(lake, config, c.CANDIDATES, frame, DS, ("request_id",))
    shutil.rmtree(raw)


def _vectors(lake: Lake, config: PrerankConfig, model_dir: Path, ids: pa.StringArray, rng: np.random.Generator) -> None:
    loaded = load(model_dir)
    vectors = rng.standard_normal((len(ids), DIM), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    buckets = rng.integers(1, 99, (len(ids), 2), dtype=np.int32)
    part = MatrixPart(ids, xxhash64(ids), buckets, vectors)
    stamp = (loaded.card.version, YESTERDAY, snapshot_digest(hashed_catalogue(lake, YESTERDAY, loaded.card.spec)))
    write_matrix(matrix_folder(config, *stamp[:2]), [part], len(ids), DIM, len(ids), stamp, lake.stamp(c.ITEMS))
