"""The only code that writes Delta.

A write replaces whole days: clamped to its range, spread by a hash of the key (never a random one, so that a retried
task writes the same rows), committed with replaceWhere (also when there is nothing to write, so that old rows go),
counted by the commit, and recorded in ``runs``.
"""

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from etl.conflicts import Signature, own_version, require_unchanged, settled, signature, teller
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.delta_log import rows_added
from etl.jvm import java_class
from etl.lake import Lake
from etl.one_writer import one_writer
from etl.operations.openlineage import emit
from etl.runs import Run, RunRecord, runs_frame
from etl.spark_errors import reading_log
from etl.write_errors import WriteVerificationError

# Commits of one job at the same time; what they wait for is mostly storage.
_WRITERS = 4
# Records may wait for so long, which is as much as is built again after a kill.
_TOGETHER_SECONDS = 30.0
_INVENTORY = "prerank_vacuum_inventory"
_LOG_RETENTION = "delta.logRetentionDuration"
_SAID_BY_COMMITS = "spark.databricks.delta.commitInfo.userMetadata"
#: What others are told while they wait for one of its changes.
_UPKEEP = {"job": "maintain"}


@dataclass(frozen=True)
class Output:
    """What a table is to hold for ``days``.

    ``key`` are the columns of the table's grain: they place and sort the rows, unless these are ``placed`` already by
    a hash of some of them. ``only`` narrows what is replaced to rows with these column values. ``read`` is the version
    of the table that the rows were made from, -1 if there was none yet, None if they do not depend on it. Rows of
    ``frame`` outside ``days`` are dropped: a writer answers for its days.
    """

    table: str
    frame: DataFrame
    days: DateRange
    key: Sequence[str]
    only: Mapping[str, str] = field(default_factory=dict)
    placed: bool = False
    read: int | None = None


@dataclass(frozen=True)
class Written:
    """One finished commit."""

    table: str
    days: DateRange
    version: int
    rows: int


def replace_partitions(lake: Lake, outputs: Sequence[Output], run: Run) -> list[Written]:
    """Write each output in one commit, in order, then record them all as done by ``run``.

    A job killed in between leaves whole days behind, without a record: the plan builds them again.
    Raises WriteVerificationError if a commit does not hold as many rows as were computed, ChangedMeanwhileError if
    others wrote days whose rows were made from the table itself.
    """
    written = write_chains(lake, [outputs], run)
    record(lake, run, written)
    return written


def write_chains(lake: Lake, chains: Sequence[Sequence[Output]], run: Run) -> list[Written]:
    """Write chains of outputs at the same time, those of a chain in order, and record nothing.

    Outputs of one table belong in one chain.
    """

    def write(chain: Sequence[Output]) -> list[Written]:
        return [_replace(lake, output, run) for output in chain]

    with ThreadPoolExecutor(max_workers=min(_WRITERS, len(chains) or 1)) as pool:
        return [written for chain in pool.map(write, chains) for written in chain]


def record(lake: Lake, run: Run, written: Sequence[Written]) -> None:
    """Tell ``runs`` what ``run`` has written."""
    append_records(lake, records_of(run, written))


def records_of(run: Run, written: Sequence[Written]) -> list[RunRecord]:
    return [run.finished(one.table, one.days, one.version, one.rows) for one in written]


class Recorder:
    """``with Recorder(lake) as tell: tell(run, written)``: ``record`` in the background, in order, done at the end.

    What is told within ``seconds`` is recorded together, for each append is a commit; no record waits longer. A job
    that is killed before leaves commits without records, as in replace_partitions. What could not be recorded is an
    error at the end of the block.
    """

    def __init__(self, lake: Lake, seconds: float = _TOGETHER_SECONDS):
        self._lake, self._seconds = lake, seconds
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._told: list[Future[None]] = []
        self._waiting: list[RunRecord] = []
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def __call__(self, run: Run, written: Sequence[Written]) -> None:
        with self._lock:
            self._waiting += records_of(run, written)
            if self._timer is None:
                self._timer = threading.Timer(self._seconds, self._flush)
                self._timer.daemon = True
                self._timer.start()

    def _flush(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._waiting:
                self._told.append(self._pool.submit(append_records, self._lake, self._waiting))
            self._timer, self._waiting = None, []

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
        self._pool.shutdown()
        if error is None:
            for one in self._told:
                one.result()


def append_records(lake: Lake, records: Sequence[RunRecord]) -> None:
    """Add rows to ``runs``, and send them on where OpenLineage is configured."""
    if not records:
        return
    frame = runs_frame(lake.spark, list(records))
    settled(lake, c.RUNS, teller(records[0]), lambda: _commit(lake, frame, c.RUNS, "append", {}))
    lake.refresh(c.RUNS)
    emit(records, lake.root)


def optimize(lake: Lake, table: str, days: DateRange, by: str | None, run: Run) -> None:
    """Rewrite the files of ``days`` into fewer, ordered by the column ``by``; without one, small files become one.

    The rows stay the same. Recorded as done by ``run``, with no rows, if there was anything to rewrite.
    """
    own = signature(run, days, {})
    if settled(lake, table, own, lambda: _rewrite(lake, table, days, by, own)):
        record(lake, run, [Written(table, days, own_version(lake, table, own), 0)])
    lake.refresh(table)


def _rewrite(lake: Lake, table: str, days: DateRange, by: str | None, own: Signature) -> bool:
    """One attempt at an OPTIMIZE; whether it committed anything."""
    # Delta takes what this commit says of itself from the session: from one of its own, as no other commit may say it.
    session = lake.spark.newSession()
    session.conf.set(_SAID_BY_COMMITS, json.dumps(own))
    builder = DeltaTable.forPath(session, lake.path(table)).optimize()
    builder = builder.where(f"ds >= '{days.start}' AND ds <= '{days.end}'")
    done = builder.executeZOrderBy(by) if by else builder.executeCompaction()
    return any(row.metrics.numFilesAdded for row in done.toLocalIterator())


def vacuum(lake: Lake, table: str, inventory: DataFrame, hours: int, dry_run: bool) -> list[str]:
    """Remove those files of ``inventory`` that no version of the last ``hours`` needs.

    ``inventory`` is (path, length, isDir, modificationTime), as Delta has it. ``dry_run`` removes nothing and returns
    the paths of what would go, of which Delta names a thousand.
    """
    inventory.createOrReplaceTempView(_INVENTORY)
    command = f"VACUUM {_named(lake, table)} USING INVENTORY (SELECT * FROM {_INVENTORY}) RETAIN {hours:d} HOURS"
    with _quiet(lake), one_writer(lake, table, _UPKEEP):
        done = lake.spark.sql(f"{command} DRY RUN" if dry_run else command)
        going = [row.path for row in done.toLocalIterator()] if dry_run else []
    lake.spark.catalog.dropTempView(_INVENTORY)
    lake.refresh(table)
    return going


@contextmanager
def _quiet(lake: Lake) -> Iterator[None]:
    """Within: what Scala code prints, as VACUUM does, goes to stderr. Stdout belongs to results."""
    console = getattr(java_class(lake.spark, "scala.Console$"), "MODULE$")
    before = console.out()
    console.setOutDirect(console.err())
    try:
        yield
    finally:
        console.setOutDirect(before)


def keep_log(lake: Lake, table: str, days: int) -> None:
    """Have Delta keep a table's log entries for ``days`` at least: without them a version cannot be read.

    A retention that is set already only grows, and in large steps, for each is a commit.
    """
    [row] = DeltaTable.forPath(lake.spark, lake.path(table)).detail().select("properties").toLocalIterator()
    held = row.properties.get(_LOG_RETENTION)
    if held is None or ((known := re.fullmatch(r"interval (\d+) days", held)) and int(known[1]) < days):
        value = f"interval {2 * days:d} days"
        with one_writer(lake, table, _UPKEEP):
            lake.spark.sql(f"ALTER TABLE {_named(lake, table)} SET TBLPROPERTIES ('{_LOG_RETENTION}' = '{value}')")
        lake.refresh(table)


def _named(lake: Lake, table: str) -> str:
    """A table by its path in SQL; the path is quoted, whatever it holds."""
    return "delta.`{}`".format(lake.path(table).replace("`", "``"))


def _replace(lake: Lake, output: Output, run: Run) -> Written:
    days, table = output.days, output.table
    own = signature(run, days, output.only)

    def overwrite() -> int:
        if output.read is not None:
            require_unchanged(lake, table, own, output.read)
        return _overwrite(lake, output, own)

    computed = settled(lake, table, own, overwrite)
    # What is verified and recorded is this run's own commit, whatever others have committed since.
    lake.pinned[table] = version = own_version(lake, table, own)
    found = rows_committed(lake, table, version, days, output.only)
    if found != computed:
        raise WriteVerificationError(table, days, computed, found)
    return Written(table, days, version, found)


def rows_committed(lake: Lake, table: str, version: int, days: DateRange, only: Mapping[str, str]) -> int:
    """The rows of ``days`` and ``only`` that stand in a table by the commit ``version``, which replaced them.

    By what the commit added, where that tells; rows of some values may share files with others, and are counted.
    """
    added = rows_added(lake.spark, lake.path(table), version, whole=not only)
    if added is not None:
        return added
    held = lake.spark.read.format("delta").option("versionAsOf", version).load(lake.path(table))
    return held.where(_within(days, only)).count()


def _overwrite(lake: Lake, output: Output, own: Signature) -> int:
    """One attempt at a commit; returns the rows that it wrote."""
    days, counted = output.days, Observation()
    rows = output.frame.where(_within(days, output.only))
    placed = rows if output.placed else _placed(lake, rows, output)
    # In the stage that writes, of which Spark counts each task once. A task of an earlier stage counts again when the
    # executor that held its result is lost.
    placed = placed.observe(counted, F.count(F.lit(1)).alias("rows"))
    where = " AND ".join([f"ds >= '{days.start}'", f"ds <= '{days.end}'", *map(_equals, output.only.items())])
    _commit(lake, placed, output.table, "overwrite", {"replaceWhere": where, "userMetadata": json.dumps(own)})
    return int(counted.get["rows"])


def _placed(lake: Lake, rows: DataFrame, output: Output) -> DataFrame:
    files = max(1, lake.tasks // len(output.days))
    bucket = F.pmod(F.xxhash64(*output.key), F.lit(files))
    return rows.repartition(files * len(output.days), "ds", bucket).sortWithinPartitions("ds", *output.key)


def _within(days: DateRange, only: Mapping[str, str]) -> Column:
    inside = F.col("ds").between(days.start, days.end)
    for name, value in only.items():
        inside = inside & (F.col(name) == value)
    return inside


def _equals(column: tuple[str, str]) -> str:
    """A part of replaceWhere, which Delta takes as SQL text only: nothing but plain words goes in."""
    name, value = column
    if not (re.fullmatch(r"\w+", name) and re.fullmatch(r"[\w.-]+", value)):
        raise ValueError(f"{name}={value!r}: only letters, digits, '_', '.' and '-' can select rows to replace")
    return f"{name} = '{value}'"


def _commit(lake: Lake, frame: DataFrame, table: str, mode: str, options: dict[str, str]) -> None:
    writer = frame.write.format("delta").mode(mode).partitionBy("ds").option("mergeSchema", "true")
    # Min and max of columns that tell no files apart are a sixth of writing. Delta heeds it in the first commit.
    properties = {"delta.dataSkippingStatsColumns": "query_key"} if table in c.BY_QUERY else {}
    with reading_log(table, lake.path(table)):
        writer.options(**properties, **options).save(lake.path(table))
