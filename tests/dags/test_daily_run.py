"""One day through real Airflow and real spark-submit, on a lake of a few thousand events."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.dataset
import pytest

from etl.java import require_java

FIRST, BEFORE, DS = "2026-01-01", "2026-01-05", "2026-01-06"

# In the folder in which Airflow is started, so that the test also shows that tasks find it.
CONFIG = """
lake: {root: ./lake}
events: {segments: [country]}
interactions: {windows_days: [3]}
items: {categories: [category]}
spark: {conf: {spark.sql.shuffle.partitions: "1"}}
train: {epochs: 1, dim: 8, hidden: [16], text_buckets: 512, id_buckets: 512}
"""

#: All that a lake knows before the day of the run, in one process and one Spark session.
DAYS_BEFORE = [
    ["simulate", "--out", "raw", "--events", "4000", "--seed", "3", "--start-ds", FIRST, "--end-ds", DS],
    ["ingest", "--source", "parquet", "--input", "raw/events", "--start-ds", FIRST, "--end-ds", BEFORE],
    [
        "ingest",
        "--source",
        "parquet",
        "--input",
        "raw/items",
        "--table",
        "items",
        "--start-ds",
        FIRST,
        "--end-ds",
        BEFORE,
    ],
    ["interactions", "--start-ds", "2026-01-02", "--end-ds", BEFORE],
]
RUN_EACH = "import json, sys; from scoring.main import main; sys.exit(max(map(main, json.loads(sys.argv[1]))))"


def run(command: list[str], env: dict[str, str], folder: Path) -> str:
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
    return done.stdout + done.stderr


@pytest.mark.airflow
@pytest.mark.slow
def test_a_day_runs_from_raw_log_to_scores(airflow_env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "prerank.yaml").write_text(CONFIG, encoding="utf-8")
    env = airflow_env | {
        "JAVA_HOME": require_java(),
        # Many short-lived JVMs: what the second compiler would gain costs more than it brings. Without it the JVM
        # keeps 48 MiB for compiled code, which an export fills.
        "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PRERANK_EVENTS": "raw/events",
        "PRERANK_CANDIDATES": "raw/candidates",
        "PRERANK_DAYS": "4",
        "PRERANK_DRIVER_MEMORY": "1g",
        "PRERANK_RETRIES": "0",
    }
    run([sys.executable, "-c", RUN_EACH, json.dumps(DAYS_BEFORE)], env, tmp_path)
    airflow = str(Path(sys.executable).with_name("airflow"))
    run([airflow, "db", "migrate"], env, tmp_path)
    output = run([airflow, "dags", "test", "prerank_daily", DS], env, tmp_path)

    assert (tmp_path / "trained" / DS / "interactrank").is_dir(), output[-8000:]
    evaluation = json.loads((tmp_path / "trained" / DS / "evaluation.json").read_text(encoding="utf-8"))
    assert set(evaluation["models"]) >= {"bm25", "interactrank"}
    days = pyarrow.dataset.partitioning(flavor="hive")
    scores = pyarrow.dataset.dataset(tmp_path / "lake" / "scores", partitioning=days, exclude_invalid_files=True)
    table = scores.to_table(columns=["ds", "request_id", "ranked"])
    assert {str(ds) for ds in table["ds"].to_pylist()} == {DS}
    assert len(set(table["request_id"].to_pylist())) == len(table) > 0
    assert all(table["ranked"].to_pylist())
    assert not (tmp_path / "lake" / "items" / f"ds={DS}").exists(), "no catalogue was given: its task is skipped"
