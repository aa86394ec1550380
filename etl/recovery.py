"""What a killed job has committed and not recorded is recorded by the next one that depends on it.

A job commits first and tells ``runs`` then. Killed in between, most jobs simply write the same again. Those that find
nothing left to do would leave the commit without a record, and the plan would not know that the days have changed.
"""

from collections.abc import Iterable
from datetime import datetime

from pyspark.sql import functions as F

from etl.conflicts import signature_of
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.lake import Lake, commit_info, committed_at, latest_version
from etl.runs import RunRecord, wall_clock
from etl.write import append_records

#: Newest versions of a table that are looked at: a job that failed is run again soon, or not at all.
_VERSIONS = 20


def record_lost_commits(lake: Lake, tables: Iterable[str]) -> list[RunRecord]:
    """Record the commits of ``tables`` that no record tells of, and return the records; [] where there are none.

    A job that runs meanwhile and is about to record its own commit then has two records of it, which say the same.
    """
    found = [record for table in tables if lake.exists(table) for record in _lost(lake, table)]
    append_records(lake, found)
    return found


def _lost(lake: Lake, table: str) -> list[RunRecord]:
    newest = latest_version(lake.spark, lake.path(table))
    recorded = _recorded(lake, table)
    versions = [version for version in range(newest, -1, -1)[:_VERSIONS] if version not in recorded]
    return [record for version in versions if (record := _record(lake, table, version)) is not None]


def _recorded(lake: Lake, table: str) -> set[int]:
    if not lake.exists(c.RUNS):
        return set()
    lake.refresh(c.RUNS)
    runs = lake.read(c.RUNS).where((F.col("table") == table) & F.col("output_version").isNotNull())
    newest = runs.select("output_version").distinct().orderBy(F.desc("output_version")).limit(_VERSIONS)
    return {row.output_version for row in newest.toLocalIterator()}


def _record(lake: Lake, table: str, version: int) -> RunRecord | None:
    """From what the commit says of itself; None for one that replaced no days, and for one that holds other rows than
    were written: that would have been an error."""
    info = commit_info(lake.spark, lake.path(table), version)
    said = signature_of(info)
    if "start_ds" not in said:
        return None
    days = DateRange(said["start_ds"], said["end_ds"])
    rows = lake.spark.read.format("delta").option("versionAsOf", version).load(lake.path(table))
    rows = rows.where(F.col("ds").between(days.start, days.end))
    for name, value in said["only"].items():
        rows = rows.where(F.col(name) == value)
    found = rows.count()
    # Where only rows of some values are replaced, Delta counts the others of their files as well.
    written = int(info.get("operationMetrics", {}).get("numOutputRows", 0))
    if found > written or (found < written and not said["only"]):
        return None
    return RunRecord(
        run_id=said["run_id"],
        job=said["job"],
        table=table,
        ds=days.start,
        end_ds=days.end,
        inputs=said["inputs"],
        output_version=version,
        rows_in=said["rows_in"],
        rows_out=found,
        rows_rejected=said["rows_rejected"],
        definition_hash=said["definition_hash"],
        config_hash=said["config_hash"],
        status=said["status"],
        started_at=datetime.fromisoformat(said["started_at"]),
        finished_at=committed_at(lake.spark, lake.path(table), version) or wall_clock(),
    )
