"""The whole job on a lake in an object store holds what the same job holds on a local lake."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from etl.contract.manifest import read_manifest
from tests.scoring.cluster.conftest import Day
from tests.scoring.cluster.object_store import CLIENT, KEY, SECRET, object_store
from tests.scoring.cluster.runs import BEFORE, CONFIG, DS, FIRST, LOCAL, RUN_EACH, read_table, settings, start

pytestmark = [pytest.mark.cluster, pytest.mark.spark, pytest.mark.slow]

JOB = f"""
show-config
simulate --out s3a://bucket/raw --events 3000 --seed 3 --start-ds {FIRST} --end-ds {DS}
ingest --source parquet --input s3a://bucket/raw/events --start-ds {FIRST} --end-ds {BEFORE}
ingest --source parquet --input s3a://bucket/raw/items --table items --ds {FIRST}
ingest --source parquet --input s3a://bucket/raw/candidates --table candidates --ds {DS}
interactions --start-ds {FIRST} --end-ds {BEFORE}
plan --start-ds {FIRST} --end-ds {BEFORE}
export --start-ds 2026-01-02 --end-ds {BEFORE} --out data
score --ds {DS} --model MODEL --set score.chunks=2
"""
UPKEEP = f"""
monitor --ds {BEFORE}
lineage interactions {BEFORE}
maintain --ds {DS} --keep data
runs --last 100
"""
GRAIN = ("ds", "query_key", "item_id", "segment_name", "segment_value")


def run_verbs(lines: str, folder: Path, conf: dict[str, str]) -> list[dict[str, Any]]:
    """The reports of verbs that run one after the other in one process."""
    more = ["--json", "--set=lake.root=s3a://bucket/lake", f"--set=spark.packages={CLIENT}"]
    verbs = [[*line.split(), *more, *settings("local", conf)] for line in lines.strip().splitlines()]
    process = start([sys.executable, "-c", RUN_EACH, json.dumps(verbs)], folder)
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, f"{out[-3000:]}\n{err[-6000:]}"
    assert SECRET not in out + err
    assert KEY not in out + err
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def test_a_lake_in_an_object_store_holds_what_a_local_one_does(day: Day, tmp_path: Path):
    (tmp_path / "prerank.yaml").write_text(CONFIG)
    with object_store(tmp_path / "log") as store:
        conf = LOCAL | store.conf
        *_, plan, exported, scored = run_verbs(JOB.replace("MODEL", str(day.folder / "model")), tmp_path, conf)
        # What a killed job leaves behind.
        store.upload(f"lake/candidates/ds={DS}/part-00000-orphan.c000.snappy.parquet", b"PAR1")
        _, lineage, upkeep, runs = run_verbs(UPKEEP, tmp_path, conf)
        lake = store.download("lake", tmp_path / "copy")
    assert {step["state"] for step in plan["steps"]} == {"fresh"}
    assert exported["items"] > 0
    assert scored == {**day.report, "chunks_kept": 0}
    assert read_table(lake / "scores").equals(day.scores)
    theirs = read_table(day.folder / "lake" / "interactions", *GRAIN)
    assert read_table(lake / "interactions", *GRAIN).equals(theirs)
    mine, other = (read_manifest(folder / "data") for folder in (tmp_path, day.folder))
    assert (mine.shards, mine.statistics, mine.positives) == (other.shards, other.statistics, other.positives)
    assert "s3a://bucket/raw/events" in json.dumps(lineage)
    assert {one["table"]: one["removed_files"] for one in upkeep["tables"] if one["removed_files"]} == {"candidates": 1}
    assert {run["status"] for run in runs["runs"]} <= {"succeeded", "optimized"}
    local = {path.name for path in tmp_path.iterdir()}
    assert {"data", "vectors", "prerank_quality"} <= local
    assert not [name for name in local if name in ("lake", "raw") or ":" in name], "a URI taken for a local path"
