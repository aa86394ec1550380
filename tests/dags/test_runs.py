"""All four DAGs through real Airflow and real spark-submit, on a lake of a few thousand events."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow.dataset
import pytest

from etl.java import require_java
from tests.dags.conftest import AIRFLOW, RUN_EACH, TINY_CONFIG, TINY_SPARK, run

FIRST, BEFORE, DS = "2026-01-01", "2026-01-05", "2026-01-06"
DAYS_BEFORE = ["--start-ds", FIRST, "--end-ds", BEFORE]

#: All that a lake knows before the first DAG runs, in one process and one Spark session.
RAW = [
    ["simulate", "--out", "raw", "--events", "4000", "--seed", "3", "--start-ds", FIRST, "--end-ds", DS],
    ["ingest", "--source", "parquet", "--input", "raw/events", *DAYS_BEFORE],
    ["ingest", "--source", "parquet", "--input", "raw/items", "--table", "items", *DAYS_BEFORE],
]
#: In chunks of three days, two of them.
BACKFILL = {"tables": ["interactions"], "start_ds": FIRST, "end_ds": BEFORE, "chunk_days": 3}


def days_of(table: Path) -> set[str]:
    return {folder.name.removeprefix("ds=") for folder in table.glob("ds=*")}


pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@dataclass(frozen=True)
class Landed:
    """A folder whose lake was backfilled and then given a day, each by its DAG."""

    folder: Path
    env: dict[str, str]

    def test_dag(self, dag: str, ds: str, *more: str) -> str:
        return run([AIRFLOW, "dags", "test", dag, ds, *more], self.env, self.folder)


@pytest.fixture(scope="module")
def landed(airflow_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Landed:
    folder = tmp_path_factory.mktemp("landed")
    (folder / "prerank.yaml").write_text(TINY_CONFIG, encoding="utf-8")
    raw = {"PRERANK_EVENTS": "raw/events", "PRERANK_CANDIDATES": "raw/candidates", "PRERANK_DAYS": "4"}
    made = Landed(folder, airflow_env | TINY_SPARK | raw | {"JAVA_HOME": require_java()})
    run([sys.executable, "-c", RUN_EACH, json.dumps(RAW)], made.env, folder)
    run([AIRFLOW, "db", "migrate"], made.env, folder)
    made.test_dag("prerank_backfill", BEFORE, "--conf", json.dumps(BACKFILL))
    made.test_dag("prerank_interactions", DS)
    return made


def test_a_lake_is_backfilled_and_given_a_day(landed: Landed) -> None:
    lake = landed.folder / "lake"
    assert days_of(lake / "interactions") >= {"2026-01-02", "2026-01-03", "2026-01-04", BEFORE, DS}
    assert DS not in days_of(lake / "items"), "no catalogue was given: its task is skipped"


def test_models_are_trained_and_the_champion_scores_the_day(landed: Landed) -> None:
    output = landed.test_dag("prerank_training", BEFORE)
    evaluation = json.loads((landed.folder / "trained" / BEFORE / "evaluation.json").read_text(encoding="utf-8"))
    assert set(evaluation["models"]) >= {"bm25", "interactrank"}, output[-8000:]
    assert list((landed.folder / "trained" / "versions" / "interactrank").iterdir())

    landed.test_dag("prerank_scoring", DS)
    days = pyarrow.dataset.partitioning(flavor="hive")
    scores = pyarrow.dataset.dataset(landed.folder / "lake" / "scores", partitioning=days, exclude_invalid_files=True)
    table = scores.to_table(columns=["ds", "request_id", "ranked"])
    assert {str(ds) for ds in table["ds"].to_pylist()} == {DS}
    assert len(set(table["request_id"].to_pylist())) == len(table) > 0
    assert all(table["ranked"].to_pylist())
    assert (landed.folder / "reports" / f"{DS}.html").stat().st_size > 10_000
