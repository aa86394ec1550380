"""What Delta's log says of a commit: read in the driver, without a Spark job."""

import json
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import SparkSession

from etl.jvm import java_class
from etl.lake import hadoop_path
from etl.storage_errors import DamagedLogError


def committed_at(spark: SparkSession, path: str, version: int) -> datetime | None:
    """When a version was committed, as Delta has it; None where its log entry is gone."""
    entry, file_system = _log_entry(spark, path, version)
    if not file_system.exists(entry):
        return None
    return datetime.fromtimestamp(file_system.getFileStatus(entry).getModificationTime() / 1000, UTC)


def commit_info(spark: SparkSession, path: str, version: int) -> dict[str, Any]:
    """What Delta wrote down of a commit, its user metadata included; {} where its log entry is gone.

    Raises DamagedLogError for an entry that is not whole.
    """
    entry, file_system = _log_entry(spark, path, version)
    if not file_system.exists(entry):
        return {}
    stream = java_class(spark, "java.io.InputStreamReader")(file_system.open(entry), "UTF-8")
    reader = java_class(spark, "java.io.BufferedReader")(stream)
    try:
        # Delta writes it before what the commit adds and removes.
        known = _parsed(path, entry, reader.readLine() or "").get("commitInfo", {})
    finally:
        reader.close()
    return known if isinstance(known, dict) else {}


def rows_added(spark: SparkSession, path: str, version: int, whole: bool) -> int | None:
    """The rows that a commit has added, by the statistics of its files; None where these cannot tell.

    They cannot where a file has none, nor, unless the commit replaced ``whole`` files, where it removed some: rows
    that stayed then were written again. Raises DamagedLogError for an entry that is not whole.
    """
    entry, file_system = _log_entry(spark, path, version)
    stream, read = file_system.open(entry), java_class(spark, "org.apache.commons.io.IOUtils").toString
    try:
        # At line feeds only: ids in statistics may hold what Unicode counts as the end of a line.
        lines = read(stream, "UTF-8").rstrip("\n").split("\n")
    finally:
        stream.close()
    actions = [_parsed(path, entry, line) for line in lines]
    rows = [json.loads(one["add"].get("stats") or "{}").get("numRecords") for one in actions if "add" in one]
    told = None not in rows and (whole or not any("remove" in one for one in actions))
    return sum(rows) if told else None


def _parsed(path: str, entry: Any, line: str) -> dict[str, Any]:
    try:
        action = json.loads(line)
    except ValueError as error:
        raise DamagedLogError(path.rsplit("/", 1)[-1], path, f"{entry.getName()} is not whole JSON") from error
    return action if isinstance(action, dict) else {}


def _log_entry(spark: SparkSession, path: str, version: int) -> tuple[Any, Any]:
    return hadoop_path(spark, f"{path}/_delta_log/{version:020d}.json")
