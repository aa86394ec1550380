"""A small lake and every verb that writes, in an order in which each finds what it needs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from etl.java import require_java
from tests.killing import EXECUTOR

ROOT = Path(__file__).parents[2]
FIRST, LAST, DS = "2026-01-01", "2026-01-06", "2026-01-07"
#: As the tests' own session has it, for verbs run in it have to write what they write on their own.
CONF = {
    "spark.master": "local[2]",
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.memory": "1g",
    "spark.ui.enabled": "false",
    "spark.databricks.delta.snapshotPartitions": "1",
    # For a handful of rows, writing and compiling Java takes longer than interpreting.
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
#: Executors that are processes of their own, so that one can be killed.
CLUSTER = {
    "spark.master": "local-cluster[2,1,768]",
    "spark.executor.memory": "768m",
    "spark.executorEnv.PYTHONPATH": str(ROOT),
    # A short test loses more executors than a long job.
    "spark.task.maxFailures": "8",
}
CONFIG = {
    "events": {"segments": ["country"]},
    "interactions": {"windows_days": [3, 7]},
    "items": {"categories": ["category"]},
    "export": {"validation_days": 1, "test_days": 1},
    "train": {"epochs": 2, "dim": 8, "hidden": [16], "text_buckets": 512, "id_buckets": 512, "tensorboard": False,
              "checkpoint_steps": 1, "device": "cpu"},
    "candidates": {"interactions": 20, "bm25": 10, "nearest": 10},
    "score": {"top_k": 7, "requests_per_batch": 16, "device": "cpu"},
    "maintain": {"retention_days": {"monitoring": 1, "candidates": 1}},
    "spark": {"profile": "local", "conf": CONF},
}  # fmt: skip
#: A short run never earns back what the second compiler costs.
JVM_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=128m -XX:+UseSerialGC"


@dataclass(frozen=True)
class Verb:
    """One command line. ``prepare`` changes the folder before it."""

    name: str
    line: str
    killed: bool = True
    on_spark: bool = True
    prepare: Callable[[Path], None] | None = None

    def words(self, folder: Path) -> list[str]:
        return self.line.format(user=user_of(folder)).split() if "{" in self.line else self.line.split()


def user_of(folder: Path) -> str:
    """A user of the simulated log."""
    return str(min(pq.read_table(folder / "raw" / "events", columns=["user_id"])["user_id"].drop_null().to_pylist()))


def _age(folder: Path) -> None:
    """Files as old as if a month had passed, and one that a killed job left behind."""
    [day] = (folder / "lake" / "events").glob(f"ds={LAST}")
    shutil.copy(next(day.glob("part-*.parquet")), day / "part-00000-of-a-killed-job.parquet")
    for path in (folder / "lake").glob("*/ds=*/*.parquet"):
        month_ago = path.stat().st_mtime - 30 * 86_400
        os.utime(path, (month_ago, month_ago))


VERBS = (
    Verb("simulate", f"simulate --out raw --events 900 --seed 3 --start-ds {FIRST} --end-ds {DS}"),
    Verb("simulate more", f"simulate --out late --events 300 --seed 4 --start-ds {FIRST} --end-ds {DS}", killed=False),
    Verb("ingest", f"ingest --source parquet --input raw/events --start-ds {FIRST} --end-ds {DS}"),
    Verb("ingest items", f"ingest --source parquet --input raw/items --table items --ds {FIRST}", killed=False),
    Verb("ingest candidates", f"ingest --source parquet --input raw/candidates --table candidates --ds {DS}",
         killed=False),
    Verb("interactions", f"interactions --start-ds {LAST} --end-ds {DS}"),
    Verb("ingest --append",
         f"ingest --source parquet --input late/events --append --start-ds 2026-01-02 --end-ds {LAST}"),
    Verb("backfill", f"backfill --start-ds 2026-01-04 --end-ds {DS}"),
    Verb("forget", "forget --user {user}"),
    Verb("backfill again", f"backfill --start-ds 2026-01-04 --end-ds {DS}", killed=False),
    Verb("export", f"export --start-ds 2026-01-05 --end-ds {DS} --out data"),
    Verb("train", "train --data data --model interactrank --out trained/model", on_spark=False),
    Verb("evaluate", "evaluate --data data --models bm25,trained/model", on_spark=False),
    Verb("ablate", "ablate --data data --seeds 1 --rungs shares --set train.epochs=1", on_spark=False),
    Verb("candidates", f"candidates --ds {LAST} --from-events --set candidates.nearest=0"),
    Verb("embed", f"embed --ds {DS} --model trained/model"),
    Verb("score", f"score --ds {DS} --model trained/model"),
    Verb("score in chunks", f"score --ds {LAST} --model trained/model --set score.chunks=3"),
    Verb("promote", f"promote --ds {DS} --model trained/model --data data"),
    Verb("export-serving", f"export-serving --ds {DS} --model trained/model --out serving"),
    Verb("monitor", f"monitor --start-ds {LAST} --end-ds {DS} --prometheus metrics.prom"),
    Verb("report", "report --out report.html"),
    Verb("maintain", f"maintain --ds {DS} --keep data", prepare=_age),
)  # fmt: skip
KILLED = tuple(verb for verb in VERBS if verb.killed)


def launch(verb: Verb, folder: Path, mode: str = "", more: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    """The verb's own process; what it says goes to the file ``log`` in ``folder``."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PRERANK", "SPARK"))}
    env |= {"JAVA_HOME": require_java(), "SPARK_LOCAL_IP": "127.0.0.1", "PYTHONPATH": str(ROOT)}
    env |= {"OMP_NUM_THREADS": "1", "JDK_JAVA_OPTIONS": JVM_OPTIONS}
    conf = CLUSTER if mode == EXECUTOR else {}
    settings = [f"--set=spark.conf.{key}={value}" for key, value in conf.items()]
    words = [sys.executable, "-m", "scoring.main", *verb.words(folder), *settings, *more]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, cwd=folder, env=env)


def finish(verb: Verb, folder: Path) -> None:
    """Run a verb to its end: those on Spark in the session of the test, which is there already."""
    if not verb.on_spark:
        process = launch(verb, folder)
        assert process.wait(timeout=400) == 0, said(folder)
        return
    from scoring.main import run

    before = Path.cwd()
    os.chdir(folder)
    try:
        assert run(verb.words(folder)) == 0
    finally:
        os.chdir(before)


def said(folder: Path) -> str:
    """The end of what its processes said."""
    return (folder / "log").read_text(encoding="utf-8", errors="replace")[-4000:] if (folder / "log").exists() else ""


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("log"))
    return target
