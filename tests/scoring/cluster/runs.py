"""Verbs in processes of their own, on a small day, and what they leave behind."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etl.java import require_java
from tests.scoring.cluster.daemon import FOLDER
from tests.scoring.cluster.event_log import CONF, EventLog, Stage, read_log

ROOT = Path(__file__).parents[3]
FIRST, BEFORE, DS = "2026-01-01", "2026-01-03", "2026-01-04"
CONFIG = """
events: {segments: [country]}
interactions: {windows_days: [3]}
items: {categories: [category]}
export: {validation_days: 0, test_days: 1}
train: {epochs: 1, dim: 8, hidden: [16], text_buckets: 512, id_buckets: 512, tensorboard: false}
score: {top_k: 7, requests_per_batch: 16}
"""
#: A short run never earns back what the second compiler costs.
JVM = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=128m -XX:+UseSerialGC"
SMALL = {
    "spark.driver.memory": "1g",
    "spark.ui.enabled": "false",
    "spark.databricks.delta.snapshotPartitions": "1",
    # For a handful of rows, writing and compiling Java takes longer than interpreting.
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
LOCAL = {"spark.master": "local[2]", "spark.sql.shuffle.partitions": "2", **SMALL}
MAKE = f"""
simulate --out raw --events 3000 --seed 3 --start-ds {FIRST} --end-ds {DS}
ingest --source parquet --input raw/events --start-ds {FIRST} --end-ds {BEFORE}
ingest --source parquet --input raw/items --table items --ds {FIRST}
ingest --source parquet --input raw/candidates --table candidates --ds {DS}
interactions --start-ds {FIRST} --end-ds {BEFORE}
export --start-ds 2026-01-02 --end-ds {BEFORE} --out data
train --data data --model interactrank --out model
"""
RUN_EACH = "import json, sys; from scoring.main import main; sys.exit(max(map(main, json.loads(sys.argv[1]))))"
SCORE = ["score", "--ds", DS, "--model", "model"]


@dataclass(frozen=True)
class Scored:
    """What a run on a cluster left behind."""

    scores: pa.Table
    report: dict[str, Any]
    log: EventLog
    tasks: list[dict[str, Any]]
    """What the Python workers wrote down, see tests.scoring.cluster.daemon."""

    def runs_a_model(self, stage: Stage) -> bool:
        """Whether its tasks asked for a device."""
        return any(task["stage"] == stage.number for task in self.tasks)


def start_score(folder: Path, profile: str, conf: Mapping[str, str]) -> "subprocess.Popen[str]":
    return start([sys.executable, "-m", "scoring.main", *SCORE, "--json", *settings(profile, conf)], folder)


def cluster_conf(folder: Path, master: str, **more: str) -> dict[str, str]:
    """Small executors whose Python workers write into ``folder``, and a log of what ran where."""
    return {
        "spark.master": master,
        "spark.executor.memory": "1g",
        "spark.executor.cores": "1",
        "spark.executor.extraJavaOptions": JVM,
        "spark.executorEnv.PYTHONPATH": str(ROOT),
        f"spark.executorEnv.{FOLDER}": str(folder),
        "spark.python.daemon.module": "tests.scoring.cluster.daemon",
        "spark.sql.shuffle.partitions": "4",
        "spark.eventLog.dir": (folder / "log").as_uri(),
        **SMALL,
        **CONF,
        **more,
    }


def finish_score(process: "subprocess.Popen[str]", folder: Path) -> Scored:
    report = finish(process)
    tasks = [json.loads(path.read_text()) for path in sorted(folder.glob("task-*.json"))]
    return Scored(read_table(folder / "lake" / "scores"), report, read_log(folder / "log"), tasks)


def read_table(path: Path, *keys: str) -> pa.Table:
    """A small Delta table in order of its requests, or of other ``keys``: the files of its log, and no others."""
    files: set[str] = set()
    for commit in sorted((path / "_delta_log").glob("*.json")):
        for action in map(json.loads, commit.read_text().splitlines()):
            files |= {action["add"]["path"]} if "add" in action else set()
            files -= {action["remove"]["path"]} if "remove" in action else set()
    parts = [pq.read_table(path / name, partitioning=None) for name in sorted(files)]
    return pa.concat_tables(parts).sort_by([(key, "ascending") for key in keys or ("request_id",)]).combine_chunks()


def settings(profile: str, conf: Mapping[str, str]) -> list[str]:
    return [f"--set=spark.profile={profile}", *(f"--set=spark.conf.{key}={value}" for key, value in conf.items())]


def start(words: list[str], folder: Path) -> "subprocess.Popen[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PRERANK", "SPARK"))}
    env |= {"JAVA_HOME": require_java(), "SPARK_LOCAL_IP": "127.0.0.1", "PYTHONPATH": str(ROOT)}
    env |= {"OMP_NUM_THREADS": "1", "JDK_JAVA_OPTIONS": JVM}
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder, env=env)


def finish(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """The JSON that a verb ended with, {} if it printed none; AssertionError if it failed."""
    try:
        out, err = process.communicate(timeout=400)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    assert process.returncode == 0, f"{out[-3000:]}\n{err[-6000:]}"
    last = out.strip().splitlines()[-1]
    return json.loads(last) if last.startswith("{") else {}
