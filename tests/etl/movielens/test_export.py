import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from etl.arrow_files import open_arrow
from etl.contract import manifest as m
from etl.contract.errors import UsageError
from etl.movielens.config import PUBLISHED_WITH_LEAK, TIME, MovieLensConfig
from etl.movielens.export import LIKE, export_movielens
from etl.quality.export import export_profile
from models.config import TrainConfig
from models.dataset import Export
from models.train import train
from tests.etl.movielens.layouts import ml_1m

ML_100K = os.environ.get("PRERANK_ML100K", "")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """600 ratings of 12 users and 15 movies; even users like even movies."""
    folder = ml_1m(tmp_path_factory.mktemp("ml"))
    rng = np.random.default_rng(5)
    user, item, ts = rng.integers(1, 13, 600), rng.integers(1, 16, 600), 881_250_949 + rng.integers(0, 9_000, 600) * 100
    rating = np.where((user + item) % 2 == 0, rng.integers(3, 6, 600), rng.integers(1, 4, 600))
    lines = [f"{u}::{i}::{r}::{t}\n" for u, i, r, t in zip(user, item, rating, ts, strict=True)]
    (folder / "ratings.dat").write_text("".join(lines))
    (folder / "users.dat").write_text("".join(f"{u}::{'FM'[u % 2]}::{u * 5}::{u % 3}::0\n" for u in range(1, 13)))
    (folder / "movies.dat").write_text("".join(f"{i}::Film {i}::{'A|B|C|D' if i % 2 else 'E'}\n" for i in range(1, 16)))
    return folder


def exported(source: Path, out: Path, **settings) -> Export:
    export_movielens(source, out, MovieLensConfig(**settings))
    return Export(out)


CASES = {
    "random": {},
    "time": {"split": TIME},
    "means": {"means": True, "titles": True},
    "leak": {"protocol": PUBLISHED_WITH_LEAK},
}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_the_export_passes_the_gate_of_every_export(source, tmp_path, settings):
    manifest = exported(source, tmp_path / "data", **settings).manifest
    *splits, whole = export_profile(tmp_path / "data", manifest, m.SPLITS, manifest.rows)
    assert all(split["rows"] > 0 for split in splits)
    bad = [name for split in splits for name in split if name not in ("ds", "rows") and split[name]]
    assert not bad
    assert whole["bad_histories"] == 0


def test_equal_settings_make_equal_files_and_other_seeds_others(source, tmp_path):
    first, again = (exported(source, tmp_path / name, seed=1).manifest for name in ("a", "b"))
    other = exported(source, tmp_path / "c", seed=2).manifest
    assert first.digest() == again.digest() != other.digest()
    for shard in first.shards:
        assert (tmp_path / "a" / shard.path).read_bytes() == (tmp_path / "b" / shard.path).read_bytes()


def test_a_row_is_a_rating_of_a_user(source, tmp_path):
    export = exported(source, tmp_path / "data", titles=True)
    manifest, rows = export.manifest, export.split(m.TEST)
    assert rows.requests == len(rows)
    keys, texts = export.queries
    assert keys == [str(user) for user in range(1, 13)]
    assert set(texts) == {"-"}
    assert export.items.item_id == [str(item) for item in range(1, 16)]
    assert export.items.text[:2] == ["Film 1", "Film 2"]
    assert export.items.categories[:2] == [["A", "B", "C"], ["E", "", ""]]
    liked = rows.labels[:, 0] == 1
    same = (np.array([int(keys[q]) for q in rows.query]) + rows.item + 1) % 2 == 0
    assert (liked == same).all()
    segments = {
        name: np.array(values)[rows.segments[:, at]] for at, (name, values) in enumerate(manifest.segments.items())
    }
    user = rows.query + 1
    assert segments["gender"].tolist() == ["FM"[u % 2] for u in user]
    assert dict(zip(user.tolist(), segments["age"].tolist(), strict=True)) == {
        1: "1", 2: "1", 3: "1", 4: "18", 5: "25", 6: "25", 7: "35", 8: "35", 9: "45", 10: "50", 11: "50", 12: "56",
    }  # fmt: skip


def test_a_titles_words_are_shown_on_request_only(source, tmp_path):
    assert set(exported(source, tmp_path / "data").items.text) == {""}


def test_clean_means_are_two_cross_features_with_statistics(source, tmp_path):
    export = exported(source, tmp_path / "data", means=True)
    assert export.manifest.cross == ("user_mean_rating", "item_mean_rating")
    assert set(export.manifest.statistics) == set(export.manifest.cross)
    cross = export.split(m.TRAIN).cross
    assert ((cross > 0) & (cross < 1)).all()


def test_leaked_means_reach_every_model_and_there_is_no_history(source, tmp_path):
    export = exported(source, tmp_path / "data", protocol=PUBLISHED_WITH_LEAK)
    manifest = export.manifest
    assert (manifest.cross, manifest.numerics) == ((), ("item_mean_rating",))
    rows = export.split(m.TEST)
    label = rows.labels[:, 0]
    values = np.array(manifest.segments["user_mean_rating"])
    for user in set(rows.user):
        of_user = rows.user == user
        shown = set(values[rows.segments[of_user, -1]])
        assert shown == {f"{label[of_user].mean():.2f}"}
    for item in set(rows.item):
        assert export.items.numerics[item, 0] == pytest.approx(label[rows.item == item].mean())
    assert (rows.history_end == 0).all()


def test_another_folder_is_not_replaced(source, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="is not replaced"):
        export_movielens(source, tmp_path, MovieLensConfig())


def test_models_train_on_it_and_are_judged_by_the_auc_of_rows(source, tmp_path):
    export = exported(source, tmp_path / "data")
    small = TrainConfig(
        batch_requests=64, epochs=8, dim=8, hidden=(16,), text_buckets=2, max_text_features=1, id_buckets=512,
        early_stopping_metric="row_auc", tensorboard=False, workers=0, learning_rate=0.02, id_dropout=0.0,
    )  # fmt: skip
    for name in ("two_tower", "interactrank"):
        found = train(small, export, name)
        assert found.metrics["row_auc"] > 0.8, name


def test_the_verb_starts_neither_spark_nor_torch(source, tmp_path):
    code = (
        "import sys; from scoring.main import run; "
        f"assert run(['movielens', '--input', {str(source)!r}, '--out', {str(tmp_path / 'data')!r}, '--json']) == 0; "
        "assert not {'pyspark', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert m.read_manifest(tmp_path / "data").heads[0].name == LIKE


@pytest.mark.skipif(not ML_100K, reason="PRERANK_ML100K names no folder with ml-100k")
def test_ml_100k_has_the_published_counts(tmp_path):
    report = export_movielens(Path(ML_100K), tmp_path / "data", MovieLensConfig(split=TIME))
    manifest = m.read_manifest(tmp_path / "data")
    assert (manifest.rows, manifest.users, manifest.items) == (72_855, 943, 1_682)
    assert manifest.positives[LIKE] == 55_375
    assert sum(report.rows.values()) == 72_855
    assert (manifest.start_ds, manifest.end_ds) == ("1997-09-20", "1998-04-22")
    last = {shard.split: pq.read_table(tmp_path / "data" / shard.path)["ts"] for shard in manifest.shards}
    assert last[m.TRAIN].to_numpy().max() < last[m.VALIDATION].to_numpy().min()
    assert last[m.VALIDATION].to_numpy().max() < last[m.TEST].to_numpy().min()
    histories = open_arrow(tmp_path / "data" / m.HISTORIES_FILE)
    assert len(histories.column("items").values) <= manifest.positives[LIKE]
    assert dataclasses.asdict(manifest)["format_version"] == m.FORMAT_VERSION
