"""A serving folder, loaded without Spark, ranks and sees what the batch job does."""

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from pyspark.sql import functions as F

from etl.backoff import backoff_of
from etl.config import LakeConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.contract.errors import UsageError
from etl.cross import cross_names, with_cross
from etl.lake import Lake
from etl.query_windows import AS_OF as SEEN_DAY
from models.contract import ItemFeatures, QueryFeatures
from models.features import FeatureSpec
from models.hashing import bucket
from scoring.embed import item_features
from scoring.explain_rows import pair_of, request_of
from scoring.item_vectors import embed_catalogue
from scoring.score import score_candidates
from scoring.seen import described_catalogue
from scoring.serving.export import export_serving
from scoring.serving.load import Request, Serving, load_serving
from tests.scoring.served_lake import AS_OF, CATALOGUE, DS, Served

pytestmark = pytest.mark.spark

README = Path(__file__).parents[3] / "README.md"
DAY = DateRange(DS, DS)


@pytest.fixture(scope="module")
def folder_of(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The serving folder of a model, exported once."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("serving") / name
            export_serving(served.lake(), served.config, DS, served.model_dir(name), made[name])
        return made[name]

    return folder


def requests_of(served: Served) -> dict[str, Request]:
    """The candidates of the day as a server would be asked, with histories straight from the events."""
    lake = served.lake()
    since = DateRange("2024-02-28", AS_OF)  # export.history_days before the day
    start = F.lit(DS).cast("timestamp")
    acted = lake.read(c.EVENTS, since).where(F.col("action") != c.IMPRESSION)
    age = (F.unix_seconds(start) - F.unix_seconds("ts")).alias("age")
    latest_first = acted.orderBy(F.desc("ts"), F.desc("event_id"))
    events = latest_first.select("user_id", "item_id", "action", age).collect()
    rows = lake.read(c.CANDIDATES, DAY).collect()
    return {
        row.request_id: Request(
            query_key=row.query_key,
            items=row["items"],
            segments=row.segments,
            history=[(one.item_id, one.action, one.age) for one in events if one.user_id == row.user_id],
        )
        for row in rows
    }


@pytest.mark.parametrize("name", ["interactrank", "two_tower"])
@pytest.mark.slow
def test_a_server_ranks_as_the_batch_job_does(served: Served, folder_of: Callable[[str], Path], name: str):
    report = score_candidates(served.lake(), served.config, DS, served.model_dir(name))
    scores = served.lake().read(c.SCORES, DAY).where(F.col("model_version") == report.model_version).collect()
    serving, requests = load_serving(folder_of(name)), requests_of(served)
    assert sorted(row.request_id for row in scores) == sorted(requests)
    for row in scores:
        ranked = serving.rank(requests[row.request_id])
        assert [item for item, _ in ranked] == [entry.item_id for entry in row.ranked], row.request_id
        assert [score for _, score in ranked] == pytest.approx([entry.score for entry in row.ranked], abs=1e-5)
    assert sum(len(row.ranked) for row in scores) == 15


def test_a_candidate_without_a_finite_score_is_not_ranked(served: Served, folder_of: Callable[[str], Path]):
    serving, request = load_serving(folder_of("two_tower")), requests_of(served)["c1"]
    whole = serving.rank(request)
    serving.vectors = serving.vectors.copy()
    serving.vectors[serving.row_of[whole[1][0]], 0] = float("nan")
    assert serving.rank(request) == [whole[0], *whole[2:]]


def reference_cross(served: Served) -> dict[tuple[str, str], dict[str, float]]:
    """(request_id, item_id) -> cross features as training gets them."""
    lake, seen = served.lake(), DateRange(AS_OF, AS_OF)
    pairs = lake.read(c.CANDIDATES, DAY).withColumn("item_id", F.explode(F.array_distinct("items")))
    pairs = pairs.select("request_id", "query_key", "segments", "item_id", F.lit(AS_OF).alias(SEEN_DAY))
    backoff = backoff_of(lake, seen, served.config)
    rows = with_cross(pairs, lake.read(c.INTERACTIONS, seen), served.config, backoff).collect()
    names = cross_names(served.config)
    return {(row.request_id, row.item_id): dict(zip(names, row.cross, strict=True)) for row in rows}


def inputs_of(serving: Serving, request: Request) -> QueryFeatures:
    return QueryFeatures(*serving.query_inputs(request, serving.query_row(request.query_key).get("items") or ()))


def catalogue(served: Served, spec: FeatureSpec) -> tuple[list[str], ItemFeatures]:
    table = described_catalogue(served.lake(), CATALOGUE, spec).orderBy("item_id").toArrow()
    return table["item_id"].to_pylist(), item_features(table.combine_chunks().to_batches()[0], spec)


@pytest.mark.parametrize("name", ["cold", "interactrank_fit", "hit"])
def test_a_server_scores_models_without_a_linear_fusion(served: Served, folder_of: Callable[[str], Path], name: str):
    serving, loaded = load_serving(folder_of(name)), served.model(name)
    ids, features = catalogue(served, loaded.card.spec)
    v = dict(zip(ids, loaded.model.encode_item(features), strict=True))
    cross = reference_cross(served)
    for request_id, request in requests_of(served).items():
        q = loaded.model.encode_query(inputs_of(serving, request))
        found = serving.scores(request)
        assert sorted(found) == sorted({item for item in request.items if item in v})
        for item, score in found.items():
            values = torch.tensor([[cross[request_id, item][name] for name in loaded.card.spec.cross]])
            expected = loaded.model.ranking_score(loaded.model.score(q, v[item].unsqueeze(0), values))
            assert score == pytest.approx(float(expected.detach()), abs=1e-4), (request_id, item)


@pytest.mark.parametrize("request_id", ["c1", "c4"])
def test_a_server_builds_the_query_towers_inputs_as_training_does(
    served: Served, folder_of: Callable[[str], Path], request_id: str
):
    loaded, lake = served.model("interactrank"), served.lake()
    pair = pair_of(lake, served.config, DS, loaded, request_of(lake, DS, request_id), "i0")
    found = inputs_of(load_serving(folder_of("interactrank")), requests_of(served)[request_id])
    for name, expected in vars(pair.queries).items():
        assert getattr(found, name).dtype == expected.dtype, name
        assert torch.equal(getattr(found, name), expected), name
    assert bool(found.history_action.any()) == bool(found.top_item.any()) == (request_id == "c1")


def test_an_action_that_the_model_does_not_know_is_no_part_of_a_served_history(folder_of: Callable[[str], Path]):
    serving, known = load_serving(folder_of("interactrank")), [("i1", "click", 9), ("i2", "purchase", 99)]
    inputs = [
        serving.query_inputs(Request("shoes", [], {}, history), ())
        for history in (known, [known[0], ("i3", "wish", 50), known[1]])
    ]
    assert all(torch.equal(one, other) for one, other in zip(*inputs, strict=True))


def test_an_item_that_the_catalogue_does_not_hold_is_served_by_its_id_alone(folder_of: Callable[[str], Path]):
    serving = load_serving(folder_of("interactrank"))
    found = QueryFeatures(
        *serving.query_inputs(Request("shoes", [], {}, [("i5", "click", 9), ("i1", "click", 9)]), ["i5"])
    )
    known = serving.buckets[serving.row_of["i1"]]
    alone = bucket("i5", serving.features["id_buckets"])
    assert found.history_item[0, :3].tolist() == [alone, known[0], 0]
    assert found.history_categories[0, :2, 0].tolist() == [0, known[1]]
    assert (found.top_item[0, :2].tolist(), found.top_categories[0, 0].tolist()) == ([alone, 0], [0])


def test_files_are_sorted_and_the_manifest_describes_them(served: Served, folder_of: Callable[[str], Path]):
    folder = folder_of("interactrank")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["model"]["name"], manifest["as_of"], manifest["catalogue"]) == ("interactrank", AS_OF, CATALOGUE)
    assert manifest["model"]["version"] == served.model("interactrank").card.version
    assert {c.INTERACTIONS, c.ITEMS, c.QUERY_ITEMS} <= manifest["tables"].keys()
    assert (manifest["features"]["history_length"], manifest["features"]["history_days"]) == (4, 4)
    assert sorted([*manifest["files"], "manifest.json"]) == sorted(path.name for path in folder.iterdir())
    keys = {
        "interactions.parquet": ("query_key", "item_id", "segment_name", "segment_value"),
        "items.parquet": ("item_id",), "queries.parquet": ("query_key",), "words.parquet": ("word", "item_id"),
    }  # fmt: skip
    for name, columns in keys.items():
        table = pq.read_table(folder / name)
        assert len(table) == manifest["files"][name]["rows"] > 0
        rows = list(zip(*(table[column].to_pylist() for column in columns), strict=True))
        assert rows == sorted(rows)
        assert len(set(rows)) == len(rows)


def test_lakes_that_share_vectors_serve_all_items_and_embed_into_tables_of_their_own(
    served: Served, folder_of: Callable[[str], Path], tmp_path: Path
):
    first, model = folder_of("two_tower"), served.model_dir("two_tower")
    root, unheld = tmp_path / "lake", shutil.ignore_patterns(c.ITEM_VECTORS)
    shutil.copytree(served.config.lake.root, root, ignore=unheld)
    config = dataclasses.replace(served.config, lake=LakeConfig(root=str(root)))
    lake = Lake(served.spark, str(root))
    report = export_serving(lake, config, DS, model, tmp_path / "out")
    assert report.rows["items.parquet"] == 5
    assert (tmp_path / "out" / "items.parquet").read_bytes() == (first / "items.parquet").read_bytes()
    assert not lake.exists(c.ITEM_VECTORS)
    assert [embed_catalogue(lake, config, DS, model).embedded for _ in range(2)] == [5, 0]
    assert lake.read(c.ITEM_VECTORS, DateRange(CATALOGUE, CATALOGUE)).count() == 5


def test_a_model_that_reads_no_interactions_is_served_without_them(folder_of: Callable[[str], Path]):
    names = {path.name for path in folder_of("two_tower").iterdir()}
    assert names == {"items.parquet", "queries.parquet", "query_tower.pt2", "item_tower.pt2", "manifest.json"}


def test_an_earlier_export_is_replaced_whole_and_other_folders_are_left_alone(served: Served, tmp_path: Path):
    out = tmp_path / "serving"
    first, second = (
        export_serving(served.lake(), served.config, DS, served.model_dir("two_tower"), out) for _ in range(2)
    )
    assert first == second
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(UsageError, match="is not replaced"):
        export_serving(served.lake(), served.config, DS, served.model_dir("two_tower"), tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_another_hashing_than_the_exports_is_refused(folder_of: Callable[[str], Path], tmp_path: Path):
    for path in folder_of("two_tower").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    manifest["features"]["ngram"] += 1
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(ValueError, match=r"features\.examples\.text .* another version of prerank"):
        load_serving(tmp_path)


def test_the_loader_needs_neither_spark_nor_the_rest_of_prerank():
    code = (
        "import sys, scoring.serving.load; ours = {m for m in sys.modules if m.split('.')[0] in "
        "('etl', 'models', 'scoring', 'pyspark')}; print(*sorted(ours))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    serving = ["scoring.serving", "scoring.serving.load", "scoring.serving.program_files"]
    assert done.stdout.split() == ["models", "models.hashing", "scoring", *serving]


def test_a_folder_that_was_changed_is_not_served(folder_of: Callable[[str], Path], tmp_path: Path):
    """The manifest has every file's digest, and whoever serves may pin the manifest's."""
    folder = shutil.copytree(folder_of("interactrank"), tmp_path / "copy")
    text = (folder / "manifest.json").read_bytes()
    digest = hashlib.sha256(text).hexdigest()
    assert load_serving(folder, digest).manifest["files"]["query_tower.pt2"]["sha256"]
    (folder / "manifest.json").write_bytes(text + b" ")
    with pytest.raises(ValueError, match="pinned"):
        load_serving(folder, digest)
    with (folder / "query_tower.pt2").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match=r"query_tower\.pt2 is not the file"):
        load_serving(folder)


def test_the_readmes_lines_rank_a_request(
    folder_of: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    [code] = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "serving").symlink_to(folder_of("interactrank"))
    monkeypatch.chdir(tmp_path)
    said: dict = {}
    exec(code, said)
    scores = [score for _, score in said["ranked"]]
    assert len(scores) > 1
    assert scores == sorted(scores, reverse=True)
