"""A small lake with candidates of one day, and models that nobody trained but whose every weight counts."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pyspark.sql import SparkSession

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.contract.manifest import Head, Manifest
from etl.cross import cross_names
from etl.ingest import ingest_catalogue, ingest_events
from etl.interactions import build_interactions
from etl.lake import Lake
from models.config import TrainConfig
from models.contract import Ranker
from models.features import FeatureSpec
from models.model_dir import LoadedModel, load, save
from models.registry import get_model
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from models.train import TrainResult
from scoring.config import PrerankConfig, ScoreConfig
from tests.etl.logs import DAYS, SNAPSHOTS, items_frame, raw_log, sample_items, sample_log, small_config

#: The day whose requests are scored, the one that they know of, and the catalogue that they see.
DS, AS_OF, CATALOGUE = "2024-03-03", "2024-03-02", SNAPSHOTS[-1]
#: request_id, query, user_id, country, gender, items: i5 is in no catalogue, i0 comes twice.
CANDIDATES = [
    ("c1", "Red shoes", "u1", "US", "female", ["i3", "i0", "i1", "i5", "i2", "i4", "i0"]),
    ("c2", "blue suede shoes", "u2", "US", None, ["i0", "i1", "i2", "i3", "i4"]),
    ("c3", "shoes", "007", "DE", "female", ["i1", "i2"]),
    ("c4", "never heard of", "nobody", None, "other", ["i4", "i0", "i3"]),
    ("c5", "shoes", "u3", None, "male", ["i5"]),
]
TRAIN = TrainConfig(
    dim=8, hidden=(12,), id_dim=6, category_dim=4, text_buckets=256, id_buckets=64, category_buckets=16,
    max_text_features=12, history_length=4, device="cpu",
)  # fmt: skip


@dataclass(frozen=True)
class Served:
    spark: SparkSession
    config: PrerankConfig
    root: Path

    def lake(self) -> Lake:
        return Lake(self.spark, self.config.lake.root)

    def model_dir(self, name: str) -> Path:
        """Where model ``name`` is, made when first asked for."""
        directory = self.root / "models" / name
        if not directory.exists():
            save(_result(name, self.config), _manifest(self.config), directory)
        return directory

    def model(self, name: str) -> LoadedModel:
        return load(self.model_dir(name))


def served_lake(spark: SparkSession, root: Path) -> Served:
    """Ingest, interactions of the day before, catalogues, candidates."""
    score = ScoreConfig(vectors_root=str(root / "vectors"))
    config = replace(PrerankConfig(**vars(small_config(root / "lake"))), train=TRAIN, score=score)
    lake = Lake(spark, config.lake.root)
    ingest_events(lake, raw_log(spark, sample_log()), config, DAYS, "sample")
    for ds in SNAPSHOTS:
        ingest_catalogue(lake, items_frame(spark, sample_items(ds)), c.ITEMS, config, DateRange(ds, ds), "items")
    schema = "request_id string, query string, user_id string, country string, gender string, items array<string>"
    asked = spark.createDataFrame(CANDIDATES, schema)
    ingest_catalogue(lake, asked, c.CANDIDATES, config, DateRange(DS, DS), "candidates")
    build_interactions(lake, config, DateRange(AS_OF, AS_OF))
    return Served(spark, config, root)


def _spec(config: PrerankConfig) -> FeatureSpec:
    manifest = _manifest(config)
    return FeatureSpec.of(manifest, 2, config.train)


def _result(name: str, config: PrerankConfig) -> TrainResult:
    spec = _spec(config)
    count = range(len(spec.cross))
    scaling = CrossScaling(
        spec.cross, tuple(0.5 + n % 5 for n in count), tuple(0.1 * (n % 3) for n in count), tuple(1.0 for _ in count)
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = get_model(name)(spec, config.train, scaling, NumericStatistics.fit(torch.tensor([[1.5], [3.0], [9.0]])))
        for parameter in _starting_at_0(model):
            torch.nn.init.normal_(parameter, std=0.2)
    model.at_step(1.0)
    return TrainResult(name, model.eval(), config.train, spec, scaling, [], 0, {})


def _starting_at_0(model: Ranker) -> list[torch.nn.Parameter]:
    wanted = ("fusion_layer.weight", "fusion_layer.bias", "scorer.cross")
    return [parameter for name, parameter in model.named_parameters() if name in wanted]


def _manifest(config: PrerankConfig) -> Manifest:
    return Manifest(
        start_ds=DAYS.start,
        end_ds=AS_OF,
        lag_days=0,
        history_length=4,
        history_days=config.export.history_days,
        heads=tuple(Head(head.name, head.actions, head.weight) for head in config.heads),
        actions=config.events.actions,
        segments={"country": ("", "DE", "US"), "gender": ("", "female", "male")},
        cross=tuple(cross_names(config)),
        categories=config.items.categories,
        numerics=config.items.numerics,
        dense=config.items.dense,
        shards=(),
        items=0,
        queries=0,
        users=0,
        positives={},
        sources={},
        config_hash="",
        has_oracle=False,
    )
