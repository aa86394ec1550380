"""Reading the audit trail: which runs wrote a table, which failed, and what they read."""

from collections.abc import Iterator
from datetime import UTC, datetime

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.lake import Lake
from etl.runs import SCHEMA, RawFile, RawInput, RunRecord


def recorded_runs(
    lake: Lake, table: str | None = None, days: DateRange | None = None, last: int = 20
) -> list[RunRecord]:
    """The ``last`` records, newest first: those of a table, and of runs whose days meet ``days``; [] without runs."""
    if not lake.exists(c.RUNS):
        return []
    found = runs_table(lake)
    if table is not None:
        found = found.where(F.col("table") == table)
    if days is not None:
        found = found.where((F.col("ds") <= days.end) & (F.col("end_ds") >= days.start))
    newest = found.orderBy(F.desc("finished_at"), "run_id", "table", "ds").limit(last)
    return list(records_of(newest))


def runs_table(lake: Lake) -> DataFrame:
    """``runs`` as it is now; columns that an older table lacks are null."""
    lake.refresh(c.RUNS)
    found = lake.read(c.RUNS)
    return lake.spark.createDataFrame([], SCHEMA).unionByName(found, allowMissingColumns=True)


def records_of(runs: DataFrame) -> Iterator[RunRecord]:
    """The rows of ``runs``, read a partition at a time."""
    for row in runs.toLocalIterator():
        yield _record(row)


def _record(row: Row) -> RunRecord:
    # Partitioned by ds, a table has null for the empty ds of a failed run without days.
    plain = row.asDict() | {"ds": row.ds or "", **{name: _utc(row[name]) for name in ("started_at", "finished_at")}}
    raw = plain.pop("raw")
    if raw is not None:
        listed = [RawFile(file.path, file.bytes, _utc(file.modified_at)) for file in raw.listed]
        raw = RawInput(raw.path, raw.files, raw.bytes, _utc(raw.modified_at), raw.digest, listed)
    return RunRecord(**plain, raw=raw)


def _utc(at: datetime) -> datetime:
    """Spark hands out the time of the machine's own zone, without saying so."""
    return at.astimezone(UTC)
