"""Reading the lake: Delta tables at ``{root}/{table}``, each pinned at one version for the whole job."""

import os
import re
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.contract.errors import UsageError
from etl.contract.paths import is_uri
from etl.errors import MissingDataError, TableColumnsError
from etl.jvm import java_class
from etl.spark_errors import reading_log
from etl.storage_errors import FileSystemError

_TABLE = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Lake:
    """The tables under one root as of the moment of their first use.

    ``pinned`` holds the version of every table read so far: the inputs of the run record. Raises FileSystemError for a
    root on a file system that Spark has no jars for.
    """

    def __init__(self, spark: SparkSession, root: str):
        self.spark = spark
        self.root = absolute(root).rstrip("/")
        if is_uri(self.root):
            hadoop_path(spark, self.root)
        self.pinned: dict[str, int] = {}

    @property
    def tasks(self) -> int:
        """Over how many tasks a table is spread."""
        return int(self.spark.conf.get("spark.sql.shuffle.partitions") or 1)

    def path(self, table: str) -> str:
        """The folder of a table; UsageError for what cannot be a table's name, such as a path to somewhere else."""
        if not _TABLE.fullmatch(table):
            raise UsageError(f"'{table}' is no table's name: expected lower-case letters, digits and _, such as events")
        return f"{self.root}/{table}"

    def exists(self, table: str) -> bool:
        with reading_log(table, self.path(table)):
            # As in Python's DeltaTable, which asks for the class package by package.
            known = java_class(self.spark, "io.delta.tables.DeltaTable")
            return bool(known.isDeltaTable(self.spark._jsparkSession, self.path(table)))

    def version(self, table: str) -> int:
        """The pinned version of a table, pinned now if it was not."""
        if table not in self.pinned:
            if not self.exists(table):
                raise MissingDataError(table, None, self.path(table))
            self.pinned[table] = self.newest(table)
        return self.pinned[table]

    def stamp(self, table: str) -> str:
        """What no other state of this or any table has: Delta's own id of the table and the pinned version."""
        version = self.version(table)
        with reading_log(table, self.path(table)):
            return f"{_delta_log(self.spark, self.path(table)).unsafeVolatileSnapshot().metadata().id()}@{version}"

    def seen(self, table: str) -> int:
        """The pinned version of a table, -1 where there is none: what rows that are made from it were made from."""
        return self.version(table) if table in self.pinned or self.exists(table) else -1

    def newest(self, table: str) -> int:
        """The version that the table has now, whatever is pinned."""
        with reading_log(table, self.path(table)):
            return _latest_version(self.spark, self.path(table))

    def read(self, table: str, days: DateRange | None = None) -> DataFrame:
        """The table at its pinned version, only the partitions of ``days`` if given.

        Raises MissingDataError when there is no such table, DamagedLogError or NewerTableError when Delta cannot open
        it.
        """
        version, path = self.version(table), self.path(table)
        with reading_log(table, path):
            frame = self.spark.read.format("delta").option("versionAsOf", version).load(path)
        return frame if days is None else frame.where(F.col("ds").between(days.start, days.end))

    def days_of(self, table: str) -> list[str]:
        """The days that hold rows, ascending; [] without the table. Answered from Delta's metadata where it can be."""
        if not self.exists(table):
            return []
        days = self.read(table).select("ds").distinct()
        return sorted(row.ds for row in days.toLocalIterator())

    def refresh(self, table: str) -> None:
        """Forget the pin: the next read sees what has been committed since."""
        self.pinned.pop(table, None)


def of_another_version(lake: Lake) -> TableColumnsError | None:
    """The first table that lacks a column which every configuration has, for a job that failed to find one."""
    for table, columns in c.ALWAYS_THERE.items():
        if lake.exists(table):
            found = lake.read(table).columns
            if missing := [name for name in columns if name not in found]:
                return TableColumnsError(table, lake.path(table), missing, [])
    return None


def data_files(lake: Lake, table: str, version: int) -> list[str]:
    """The URIs of the files of one version."""
    return lake.spark.read.format("delta").option("versionAsOf", version).load(lake.path(table)).inputFiles()


def hadoop_path(spark: SparkSession, where: str) -> tuple[Any, Any]:
    """A path and its file system, as Hadoop has them: the lake need not be a local folder.

    Raises FileSystemError where the file system cannot be opened.
    """
    path = java_class(spark, "org.apache.hadoop.fs.Path")(where)
    try:
        return path, path.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf())
    except Py4JJavaError as error:
        version = java_class(spark, "org.apache.hadoop.util.VersionInfo").getVersion()
        raise FileSystemError(where, str(error.java_exception).partition("\n")[0], version) from error


def absolute(path: str) -> str:
    """A local path made absolute here: the JVM would resolve it against the folder that it was started in."""
    return path if is_uri(path) else os.path.abspath(os.path.expanduser(path))


def _latest_version(spark: SparkSession, path: str) -> int:
    """From Delta's log in the driver: its public history starts a Spark job for the same number."""
    anyhow = java_class(spark, "scala.Option").empty()
    return int(_delta_log(spark, path).update(False, anyhow, anyhow).version())


def _delta_log(spark: SparkSession, path: str) -> Any:
    return java_class(spark, "org.apache.spark.sql.delta.DeltaLog").forTable(spark._jsparkSession, path)
