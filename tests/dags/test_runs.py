"""All four DAGs through real Airflow and real spark-submit, on a lake of a few thousand events."""

import json
import sys
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


@pytest.mark.airflow
@pytest.mark.slow
def test_a_lake_is_backfilled_trained_on_and_a_day_is_scored(airflow_env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "prerank.yaml").write_text(TINY_CONFIG, encoding="utf-8")
    raw = {"PRERANK_EVENTS": "raw/events", "PRERANK_CANDIDATES": "raw/candidates", "PRERANK_DAYS": "4"}
    env = airflow_env | TINY_SPARK | raw | {"JAVA_HOME": require_java()}
    run([sys.executable, "-c", RUN_EACH, json.dumps(RAW)], env, tmp_path)
    run([AIRFLOW, "db", "migrate"], env, tmp_path)
    lake, test = tmp_path / "lake", [AIRFLOW, "dags", "test"]

    run([*test, "prerank_backfill", BEFORE, "--conf", json.dumps(BACKFILL)], env, tmp_path)
    assert days_of(lake / "interactions") >= {"2026-01-02", "2026-01-03", "2026-01-04", BEFORE}

    output = run([*test, "prerank_training", BEFORE], env, tmp_path)
    evaluation = json.loads((tmp_path / "trained" / BEFORE / "evaluation.json").read_text(encoding="utf-8"))
    assert set(evaluation["models"]) >= {"bm25", "interactrank"}, output[-8000:]
    assert list((tmp_path / "trained" / "versions" / "interactrank").iterdir())

    run([*test, "prerank_interactions", DS], env, tmp_path)
    assert DS in days_of(lake / "interactions")
    assert DS not in days_of(lake / "items"), "no catalogue was given: its task is skipped"

    run([*test, "prerank_scoring", DS], env, tmp_path)
    days = pyarrow.dataset.partitioning(flavor="hive")
    scores = pyarrow.dataset.dataset(lake / "scores", partitioning=days, exclude_invalid_files=True)
    table = scores.to_table(columns=["ds", "request_id", "ranked"])
    assert {str(ds) for ds in table["ds"].to_pylist()} == {DS}
    assert len(set(table["request_id"].to_pylist())) == len(table) > 0
    assert all(table["ranked"].to_pylist())
    assert (tmp_path / "reports" / f"{DS}.html").stat().st_size > 10_000
