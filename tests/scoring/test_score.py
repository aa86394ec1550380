"""A day's candidate sets through every model, against the model's own forward on features built from plain rows."""

import shutil
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from etl.config import LakeConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.contract.manifest import QUERY_ITEMS_LENGTH
from etl.errors import MissingDataError, OutdatedTableError
from etl.ingest import ingest_catalogue
from etl.item_versions import VERSION, described_items
from etl.lake import Lake
from models.config import TrainConfig
from models.contract import Batch, QueryFeatures
from models.dataset import Export
from models.features import HistoryRows
from models.model_dir import LoadedModel, load, save
from models.registry import MODELS
from models.train import train
from scoring.config import PrerankConfig, ScoreConfig
from scoring.errors import ScoringError
from scoring.item_matrix import open_matrix
from scoring.item_vectors import embed_catalogue
from scoring.ranking import ranked
from scoring.score import ScoreReport, score_candidates
from tests.etl import reference, reference_rows
from tests.etl.logs import items_frame, sample_items

pytestmark = pytest.mark.spark

DS, AS_OF, SNAPSHOT = "2024-03-01", "2024-02-29", "2024-02-29"
SMALL = TrainConfig(
    epochs=1, batch_requests=8, dim=8, hidden=(12,), id_dim=4, category_dim=4, text_buckets=256, id_buckets=64,
    category_buckets=16, max_text_features=12, history_length=4, device="cpu", tensorboard=False,
)  # fmt: skip
KNOWN = [f"i{number}" for number in range(5)]
#: request_id, query, user_id, country, gender, items
CANDIDATES = [
    ("r1", "red shoes", "u1", "US", "female", KNOWN),
    ("r2", "Shoes", "u2", "US", None, ["i4", "i2", "nowhere", "i2", "i5", "nowhere", "i0"]),
    ("r3", "hats for shoes", "nobody", "FR", "male", ["i3", "i1"]),
    ("r4", "red shoes", "007", None, "female", []),
    ("r5", "blue shoes", "u3", None, "male", ["i5"]),
    ("r6", "café table", "u4", None, None, list(reversed(KNOWN))),
    ("r7", "full width", "u2", "DE", None, ["i1", "i4", "i3"]),
]
SCHEMA = "request_id string, query string, user_id string, country string, gender string, items array<string>"


class Day:
    """A copy of the small lake with candidate sets, and models trained on its export."""

    def __init__(self, built: Any, root: Path):
        self.built, self.root, self.spark = built, root, built.spark
        shutil.copytree(built.config.lake.root, root / "lake")
        shared = {field.name: getattr(built.config, field.name) for field in fields(built.config)}
        shared["lake"] = LakeConfig(str(root / "lake"))
        self.config = PrerankConfig(**shared, train=SMALL, score=ScoreConfig(vectors_root=str(root / "vectors")))
        frame = self.spark.createDataFrame(CANDIDATES, SCHEMA)
        ingest_catalogue(self.lake(), frame, c.CANDIDATES, self.config, DateRange(DS, DS), "candidates")
        self.models: dict[str, Path] = {}

    def lake(self) -> Lake:
        return Lake(self.spark, str(self.root / "lake"))

    def model(self, name: str) -> Path:
        if name not in self.models:
            export = Export(self.built.export)
            self.models[name] = self.root / "models" / name
            save(train(SMALL, export, name), export.manifest, self.models[name])
        return self.models[name]

    def score(self, name: str, **score: Any) -> tuple[ScoreReport, dict[str, list[tuple[str, float]]]]:
        config = replace(self.config, score=replace(self.config.score, **score))
        report = score_candidates(self.lake(), config, DS, self.model(name))
        rows = self.lake().read(c.SCORES).where(f"model_version = '{report.model_version}'").collect()
        return report, {row.request_id: [(one.item_id, one.score) for one in row.ranked] for row in rows}

    def expected(self, name: str) -> dict[str, list[tuple[str, float]]]:
        expected = Expected(self, load(self.model(name)))
        rankings = expected.rankings()
        assert expected.by_id_alone == {"history", "best"}
        return rankings


class Expected:
    """Rankings by ``Ranker.forward`` over features from the reference's plain Python."""

    def __init__(self, day: Day, loaded: LoadedModel):
        self.day, self.model, self.spec = day, loaded.model, loaded.card.spec
        catalogue = day.lake().read(c.ITEMS, DateRange(SNAPSHOT, SNAPSHOT))
        self.catalogue = {row.item_id for row in catalogue.select("item_id").collect()}
        shown = {event["item_id"] for event in day.built.events}
        references = day.spark.createDataFrame(
            [(item, SNAPSHOT) for item in shown | self.catalogue], ["item_id", VERSION]
        )
        spec = self.spec
        rows = described_items(references, catalogue, spec.categories, spec.numerics, spec.dense)
        found = sorted(rows.collect(), key=lambda row: row.item_id)
        self.rows = {row.item_id: number for number, row in enumerate(found)}
        #: Where requests have items that the catalogue does not hold.
        self.by_id_alone: set[str] = set()
        self.items = spec.item_features(
            [row.item_id for row in found], [row.text for row in found], [row.categories for row in found],
            np.array([row.numerics for row in found], dtype=float),
            np.array([row.dense or [0.0] * spec.dense_width for row in found], dtype=np.float32),
        )  # fmt: skip
        self.seen = reference.interactions(day.built.events, AS_OF, day.config)
        self.best = {
            row.query_key: row["items"] for row in day.lake().read(c.QUERY_ITEMS).where(f"ds = '{AS_OF}'").collect()
        }

    def rankings(self) -> dict[str, list[tuple[str, float]]]:
        found = {}
        for request_id, query, user, country, gender, items in CANDIDATES:
            segments = {name: value for name, value in (("country", country), ("gender", gender)) if value}
            start = {"query_key": reference.query_key(query), "segments": segments, "user_id": user}
            known = sorted(self.catalogue & set(items))
            scores = self.scores(start, known) if known else []
            found[request_id] = sorted(zip(known, scores, strict=True), key=lambda one: (-one[1], one[0]))
        return found

    def scores(self, start: dict[str, Any], items: list[str]) -> list[float]:
        crossed = [
            reference_rows.cross(self.seen, start, item, self.day.config, self.day.built.events, AS_OF)
            for item in items
        ]
        cross = torch.tensor([[one.get(name, 0.0) for name in self.spec.cross] for one in crossed])
        none, count = torch.zeros(0), len(items)
        batch = Batch(
            self.queries(start), self.items, none, none, torch.zeros(count, dtype=torch.int64),
            torch.tensor([self.rows[item] for item in items]), cross, none, none, none, none, none,
        )  # fmt: skip
        with torch.inference_mode():
            return self.model.ranking_score(self.model(batch)).tolist()

    def queries(self, start: dict[str, Any]) -> QueryFeatures:
        spec, key = self.spec, start["query_key"]
        begin = int(datetime.fromisoformat(DS).replace(tzinfo=UTC).timestamp())
        past = [
            event for event in sorted(self.day.built.events, key=lambda event: (event["ts"], event["event_id"]))
            if event["user_id"] == start["user_id"] and event["action"] != "impression"
            and begin - 4 * 86_400 <= event["ts"].timestamp() < begin
        ][::-1][: spec.history_length]  # fmt: skip
        shape = (1, spec.history_length)
        history = HistoryRows(
            np.zeros(shape, np.int32), np.zeros(shape, np.int8), np.zeros(shape, np.int64), np.zeros(shape, bool)
        )
        for place, event in enumerate(past):
            history.items[0, place] = self.rows[event["item_id"]]
            history.actions[0, place] = spec.actions.index(event["action"])
            history.age_seconds[0, place] = begin - int(event["ts"].timestamp())
            history.valid[0, place] = True
        best = np.full((1, QUERY_ITEMS_LENGTH), -1, dtype=np.int32)
        listed = [self.rows[item] for item in self.best.get(key, [])]
        best[0, : len(listed)] = listed
        self.by_id_alone |= {"history"} if {event["item_id"] for event in past} - self.catalogue else set()
        self.by_id_alone |= {"best"} if set(self.best.get(key, [])) - self.catalogue else set()
        values = [[known.index(start["segments"].get(name, "")) if start["segments"].get(name, "") in known else 0
                   for name, known in spec.segments.items()]]  # fmt: skip
        return spec.query_features(
            spec.query_text([key], [key]), spec.query_ids([key]), np.array(values, np.int32), history, best, self.items
        )


@pytest.fixture(scope="module")
def day(built: Any, tmp_path_factory: pytest.TempPathFactory) -> Day:
    return Day(built, tmp_path_factory.mktemp("day"))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_ranks_as_its_own_forward_does(day: Day, name: str):
    report, found = day.score(name)
    expected = day.expected(name)
    assert found.keys() == expected.keys()
    for request_id, ranking in expected.items():
        assert dict(found[request_id]) == pytest.approx(dict(ranking), abs=1e-4), request_id
        scores = [score for _, score in found[request_id]]
        assert scores == sorted(scores, reverse=True)
    counts = (report.requests, report.pairs, report.unknown_items, report.empty_requests, report.duplicates)
    assert counts == (len(CANDIDATES), 21, 3, 2, 2)
    assert report.nan_pairs == 0


@pytest.mark.parametrize("settings", [{"direct_read": False}, {"shard_mb": 1}, {"chunks": 3}], ids=str)
@pytest.mark.slow
def test_the_way_that_a_day_is_cut_changes_no_bit(day: Day, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    import scoring.item_vectors

    whole = day.score("interactrank")[1]
    if "shard_mb" in settings:
        # A matrix of three shards: so many rows in each.
        monkeypatch.setattr(scoring.item_vectors, "_rows_in", lambda size, width: 2)
    report, found = day.score("interactrank", **settings)
    assert found == whole
    assert (report.pairs, report.unknown_items, report.empty_requests, report.duplicates) == (21, 3, 2, 2)


def test_a_killed_run_goes_on_after_its_finished_chunks(day: Day, monkeypatch: pytest.MonkeyPatch):
    import scoring.score

    whole, calls = day.score("two_tower")[1], []

    def killed(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return ranked(*args)

    with monkeypatch.context() as patched:
        patched.setattr(scoring.score, "ranked", killed)
        with pytest.raises(KeyboardInterrupt):
            day.score("two_tower", chunks=4)
    report, found = day.score("two_tower", chunks=4)
    assert (report.chunks_kept, found) == (2, whole)
    assert not (day.root / "lake" / "_scoring" / DS).exists()
    assert day.score("two_tower", chunks=4)[0].chunks_kept == 0


def test_a_matrix_of_the_same_state_of_the_catalogue_is_taken_without_reading_that(day: Day, monkeypatch):
    config = replace(day.config, score=replace(day.config.score, vectors_root=str(day.root / "unread")))
    first = embed_catalogue(day.lake(), config, DS, day.model("cold"))
    with monkeypatch.context() as patched:
        patched.setattr("scoring.item_vectors.snapshot_digest", None)
        again = embed_catalogue(day.lake(), config, DS, day.model("cold"))
    assert (again.items, again.embedded) == (first.items, 0)


def test_a_new_snapshot_embeds_only_what_changed(day: Day):
    config = replace(day.config, score=replace(day.config.score, vectors_root=str(day.root / "other")))
    first = embed_catalogue(day.lake(), config, DS, day.model("cold"))
    assert (first.as_of, first.items) == (SNAPSHOT, 5)
    again = embed_catalogue(day.lake(), config, DS, day.model("cold"))
    assert (again.items, again.embedded) == (5, 0)
    same = [row for row in sample_items(SNAPSHOT) if row["item_id"] != "i2"]
    more = {"item_id": "i9", "title": "new", "brand": None, "price": "1", "vector": [0.0, 0.0]}
    frame = items_frame(day.spark, [*same, more])
    ingest_catalogue(day.lake(), frame, c.ITEMS, day.config, DateRange("2024-03-04", "2024-03-04"), "items")
    later = embed_catalogue(day.lake(), config, "2024-03-05", day.model("cold"))
    assert (later.as_of, later.items, later.embedded) == ("2024-03-04", 5, 1)
    fresh, known = open_matrix(Path(later.folder)), open_matrix(Path(first.folder))
    assert fresh.ids.to_pylist() == ["i0", "i1", "i3", "i4", "i9"]
    assert (fresh.vectors[:4] == known.vectors[[0, 1, 3, 4]]).all()


def test_a_day_without_candidates_or_a_catalogue_says_which_is_missing(day: Day):
    with pytest.raises(MissingDataError, match="candidates"):
        score_candidates(day.lake(), day.config, "2024-03-02", day.model("two_tower"))
    lagged = replace(day.config, interactions=replace(day.config.interactions, lag_days=1))
    with pytest.raises(ScoringError, match="lag_days=0"):
        score_candidates(day.lake(), lagged, DS, day.model("two_tower"))


def test_a_model_is_not_given_histories_of_another_reach(day: Day):
    short = replace(day.config, export=replace(day.config.export, history_days=7))
    with pytest.raises(ScoringError, match=f"history_days={day.config.export.history_days}"):
        score_candidates(day.lake(), short, DS, day.model("two_tower"))


def test_interactions_of_another_definition_are_not_scored_with(day: Day):
    users = replace(day.config.interactions, min_users=day.config.interactions.min_users + 1)
    with pytest.raises(OutdatedTableError, match=f"backfill --start-ds {AS_OF} --end-ds {AS_OF}"):
        score_candidates(day.lake(), replace(day.config, interactions=users), DS, day.model("two_tower"))
