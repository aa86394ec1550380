"""The program as a user meets it, run in this process on a lake that may be broken."""

import io
import json
import shutil
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pyspark.sql import SparkSession

from etl.config import LakeConfig, SparkConfig
from etl.contract.settings import to_plain
from etl.lake import Lake, data_files
from scoring.config import PrerankConfig, ScoreConfig
from scoring.main import main
from tests.etl.logs import DAYS, RAW_COLUMNS, contents, sample_log
from tests.scoring.served_lake import served_lake

#: Of the shared session: a program that runs in it leaves it as it is.
SESSION = ("spark.sql.shuffle.partitions", "spark.databricks.delta.snapshotPartitions", "spark.sql.codegen.wholeStage")
WHOLE_RANGE = ("--start-ds", DAYS.start, "--end-ds", DAYS.end)
#: A day in the middle, with events on both sides.
DAY = "2024-02-28"
ONE_DAY = ("--ds", DAY)


@dataclass(frozen=True)
class Said:
    """What a run of the program left behind for its user."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Program:
    """``prerank`` with the configuration and the lake in ``root``."""

    spark: SparkSession
    root: Path
    config: PrerankConfig

    @property
    def lake(self) -> Path:
        return self.root / "lake"

    def run(self, *words: str) -> Said:
        out, err = io.StringIO(), io.StringIO()
        # Delta remembers what it has read of a log, which a broken one would go on to be read by.
        self.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
        with redirect_stdout(out), redirect_stderr(err):
            code = main([*words, "--config", str(self.configured())])
        return Said(code, out.getvalue(), err.getvalue())

    def succeeds(self, *words: str) -> dict[str, Any]:
        """The result of a run that has to succeed."""
        said = self.run(*words, "--json")
        assert said.code == 0, said.err
        plain: dict[str, Any] = json.loads(said.out)
        return plain

    def fails(self, *words: str, saying: Sequence[str], code: int = 1) -> Said:
        """A run that has to fail in a few plain lines, which hold all of ``saying``."""
        said = self.run(*words)
        assert said.code == code, said.err
        assert [word for word in saying if word not in said.err] == [], said.err
        assert "Traceback" not in said.err
        assert "\tat " not in said.err
        assert said.out == ""
        return said

    def configured(self) -> Path:
        """The configuration as a file."""
        file = self.root.with_name(f"{self.root.name}.yaml")
        file.write_text(yaml.safe_dump(to_plain(self.config), sort_keys=False))
        return file

    def copied(self, folder: Path) -> "Program":
        """The same in ``folder``, with files of its own."""
        shutil.copytree(self.root, folder, dirs_exist_ok=True)
        score = ScoreConfig(vectors_root=str(folder / "vectors"))
        return replace(
            self, root=folder, config=replace(self.config, lake=LakeConfig(str(folder / "lake")), score=score)
        )

    def ingest(self, *more: str) -> tuple[str, ...]:
        return ("ingest", "--source", "parquet", "--input", str(self.root / "raw"), *(more or WHOLE_RANGE))

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """All rows of a table as it stands now, in an order of their own."""
        self.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
        return contents(self.spark.read.format("delta").load(str(self.lake / table)))

    def files(self, table: str, ds: str = DAY) -> list[Path]:
        """Those that the newest version holds; what earlier ones held lies beside them."""
        lake = Lake(self.spark, str(self.lake))
        held = {uri.rpartition("/")[2] for uri in data_files(lake, table, lake.version(table))}
        return sorted(path for path in (self.lake / table / f"ds={ds}").glob("*.parquet") if path.name in held)

    def log(self, table: str) -> list[Path]:
        """The entries of a table's log, oldest first."""
        return sorted((self.lake / table / "_delta_log").glob("*.json"))


def made(spark: SparkSession, root: Path) -> Program:
    """Raw files in three parts, the tables up to interactions of every day, candidates, a model."""
    served = served_lake(spark, root)
    rows = sample_log()
    (root / "raw").mkdir()
    for part in range(3):
        write_raw(root / "raw" / f"part-{part}.parquet", rows[part::3])
    served.model_dir("two_tower")
    conf = {name: str(spark.conf.get(name)) for name in SESSION}
    program = Program(spark, root, replace(served.config, spark=SparkConfig(conf=conf)))
    program.succeeds(*program.ingest())
    program.succeeds("interactions", *WHOLE_RANGE)
    return program


def write_raw(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    pq.write_table(pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in RAW_COLUMNS}), path)


def truncate(path: Path) -> None:
    """What a writer leaves that died half-way: half of the file, and no checksum of it."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    forget_checksum(path)


def forget_checksum(path: Path) -> None:
    """Remove the checksum that Hadoop keeps beside local files: object stores have none."""
    path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
