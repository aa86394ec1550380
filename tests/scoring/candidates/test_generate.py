"""Candidates of a day on the small lake: whom they are for, where they come from, what a second run changes."""

import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from etl.config import LakeConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.ingest import ingest_catalogue
from etl.lake import Lake
from models.config import TrainConfig
from models.dataset import Export
from models.model_dir import save
from models.train import train
from scoring.candidates.generate import CandidatesReport, generate_candidates
from scoring.candidates.texts import TextIndex
from scoring.candidates.union import round_robin
from scoring.config import CandidatesConfig, PrerankConfig, ScoreConfig
from scoring.errors import ScoringError
from scoring.score import score_candidates
from tests.etl import reference
from tests.etl.conftest import Built, built
from tests.etl.logs import sample_items

__all__ = ["built"]
pytestmark = pytest.mark.spark

DS, AS_OF, SNAPSHOT = "2024-03-02", "2024-03-01", "2024-02-29"
DAY = DateRange(DS, DS)
SMALL = TrainConfig(
    epochs=1, batch_requests=8, dim=8, hidden=(12,), id_dim=4, category_dim=4, text_buckets=256, id_buckets=64,
    category_buckets=16, max_text_features=12, history_length=4, device="cpu", tensorboard=False,
)  # fmt: skip
#: request_id, query, user_id, country, items
SETS = [
    ("given", "red shoes", "u1", "US", ["i3", "nowhere"]),
    ("red", "red shoes", "u1", "US", []),
    ("again", "RED shoes", "u2", None, None),
    ("acme", "acme i3", "nobody", None, []),
    ("odd", "zzz", "nobody", None, []),
]
SCHEMA = "request_id string, query string, user_id string, country string, items array<string>"


class Day:
    """A copy of the small lake with candidate sets."""

    def __init__(self, built: Built, root: Path):
        self.built, self.root, self.spark = built, root, built.spark
        shutil.copytree(built.config.lake.root, root / "lake")
        shared = {field.name: getattr(built.config, field.name) for field in fields(built.config)}
        shared["lake"] = LakeConfig(str(root / "lake"))
        score = ScoreConfig(vectors_root=str(root / "vectors"), requests_per_batch=3)
        self.config = PrerankConfig(**shared, score=score)
        self.ingest(SETS)

    def ingest(self, sets: list[tuple[Any, ...]]) -> None:
        frame = self.spark.createDataFrame(sets, SCHEMA)
        frame = frame.withColumn("items", F.coalesce("items", F.array().cast("array<string>")))
        ingest_catalogue(self.lake(), frame, c.CANDIDATES, self.config, DAY, "candidates")

    def lake(self) -> Lake:
        return Lake(self.spark, str(self.root / "lake"))

    def run(self, model: Path | None = None, from_events: bool = False, **counts: int) -> CandidatesReport:
        config = replace(self.config, candidates=CandidatesConfig(**counts))
        return generate_candidates(self.lake(), config, DS, model, from_events)

    def sets(self) -> dict[str, list[str]]:
        return {row.request_id: row["items"] for row in self.lake().read(c.CANDIDATES, DAY).collect()}

    def engaged(self, query: str) -> list[str]:
        """Items of the catalogue by decayed engagement under a query, by the reference."""
        known = {row["item_id"] for row in sample_items(SNAPSHOT)}
        rows = reference.interactions(self.built.events, AS_OF, self.config)
        scores = {
            key[1]: sum(row[c.decayed(action, 2)] for action in ("click", "purchase"))
            for key, row in rows.items()
            if key[0] == query and key[2] == "all" and key[1] in known
        }
        return sorted((item for item, score in scores.items() if score > 0), key=lambda item: (-scores[item], item))

    def matching(self, query: str) -> list[str]:
        rows = sample_items(SNAPSHOT)
        texts = [" ".join(value for value in (row["title"], row["brand"]) if value is not None) for row in rows]
        return [rows[at]["item_id"] for at in TextIndex([row["item_id"] for row in rows], texts).best(query, 200)]


@pytest.fixture
def day(built: Built, tmp_path: Path) -> Day:
    return Day(built, tmp_path)


def alternated(*lists: list[str]) -> list[str]:
    longest = max(map(len, lists))
    return list(dict.fromkeys(one[place] for place in range(longest) for one in lists if place < len(one)))


@pytest.mark.parametrize(
    "lists", [[["a", "b", "c"], ["b", "d"], ["e"]], [[], ["x"], None], [None, []], [["a", "a", "b"], ["b"], ["a"]]]
)
def test_sources_alternate_and_an_item_stands_where_it_comes_first(spark: SparkSession, lists: list[list[str] | None]):
    names = [f"l{number}" for number in range(len(lists))]
    frame = spark.createDataFrame([tuple(lists)], ", ".join(f"{name} array<string>" for name in names))
    [row] = frame.select(round_robin(*map(F.col, names)).alias("items")).collect()
    plain = [one or [] for one in lists]
    assert row["items"] == (alternated(*plain) if any(plain) else [])


@pytest.mark.slow
def test_empty_sets_are_filled_others_stay_and_a_second_run_changes_nothing(day: Day):
    report = day.run()
    red = alternated(day.engaged("red shoes"), day.matching("red shoes"))
    acme = alternated(day.engaged("acme i3"), day.matching("acme i3"))
    assert day.engaged("red shoes")
    assert acme[:1] == ["i3"]
    filled = {"given": ["i3", "nowhere"], "red": red, "again": red, "acme": acme, "odd": []}
    assert day.sets() == filled
    brought = {
        "interactions": 2 * len(day.engaged("red shoes")),
        "bm25": 2 * len(day.matching("red shoes")) + len(acme),
        "nearest": 0,
    }
    items = 2 * len(red) + len(acme)
    assert report == CandidatesReport(DS, 4, 0, 3, brought, items, sum(brought.values()) - items, 0)
    version = day.lake().version(c.CANDIDATES)
    again = day.run()
    assert (again.requests, again.filled, day.lake().version(c.CANDIDATES)) == (1, 0, version)
    assert day.sets() == filled


def test_counts_limit_each_source_and_0_leaves_it_out(day: Day):
    day.run(interactions=1, bm25=0)
    assert (day.sets()["red"], day.sets()["acme"]) == (day.engaged("red shoes")[:1], [])
    with pytest.raises(ScoringError, match="come from nowhere"):
        day.run(interactions=0, bm25=0)


def test_requests_of_the_days_events_get_a_set_and_earlier_ones_do_not(day: Day):
    begun: dict[str, Any] = {}
    for event in sorted(day.built.events, key=lambda event: (event["ts"], event["event_id"])):
        begun.setdefault(event["request_id"], event)
    new = {request: event for request, event in begun.items() if event["ds"] == DS}
    report = day.run(from_events=True)
    assert (report.new_requests, report.requests) == (len(new), len(new) + 4)
    rows = {row.request_id: row for row in day.lake().read(c.CANDIDATES, DAY).collect()}
    assert set(rows) == {one[0] for one in SETS} | set(new)
    for request, event in new.items():
        row = rows[request]
        assert (row.query_key, row.user_id, row.segments) == (event["query_key"], event["user_id"], event["segments"])
        assert row["items"] == alternated(day.engaged(row.query_key), day.matching(row.query_key))
    version = day.lake().version(c.CANDIDATES)
    assert day.run(from_events=True).new_requests == 0
    assert day.lake().version(c.CANDIDATES) == version


def test_nearest_items_are_the_best_of_a_model_that_reads_dot_products_only(day: Day, tmp_path: Path):
    export = Export(day.built.export)
    models = {name: tmp_path / name for name in ("two_tower", "cold")}
    for name, target in models.items():
        save(train(SMALL, export, name), export.manifest, target)
    with pytest.raises(ScoringError, match="no single query vector"):
        day.run(models["cold"])
    assert day.run(models["two_tower"], interactions=0, bm25=0, nearest=3).sources["nearest"] == 4 * 3
    found = day.sets()
    version = day.lake().version(c.CANDIDATES)
    assert day.run(models["two_tower"]).requests == 0
    assert day.lake().version(c.CANDIDATES) == version
    day.ingest([(*one[:4], [row["item_id"] for row in sample_items(SNAPSHOT)]) for one in SETS])
    score_candidates(day.lake(), day.config, DS, models["two_tower"])
    best = {row.request_id: [one.item_id for one in row.ranked][:3] for row in day.lake().read(c.SCORES).collect()}
    assert found == {**best, "given": ["i3", "nowhere"]}
