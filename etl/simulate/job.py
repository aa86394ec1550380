"""Writes a simulated log with its truth, as Parquet."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from etl.contract.dates import DateRange
from etl.contract.errors import UsageError
from etl.lake import hadoop_path
from etl.simulate.blocks import (
    CANDIDATES_DDL,
    EVENTS_DDL,
    ITEMS_DDL,
    TRUTH_DDL,
    Plan,
    candidate_truth_of,
    candidates_of,
    events_of,
    items_table,
    plan_log,
    truth_of,
)
from etl.simulate.config import SimulateConfig
from etl.simulate.noise import KINDS
from etl.simulate.world import WorldSpec, build_world

#: About 700,000 rows: files of tens of megabytes however long the log.
_BLOCKS_PER_FILE = 64
_FOLDERS = ("events", "items", "candidates", "truth")
#: Written before anything else, so that a folder is known as ours however far its run came.
_MARK = ".prerank-simulated"
OUTSIDE = "outside_range"
NOISE_DDL = "kind string, rows long"


@dataclass(frozen=True)
class SimulateReport:
    out: str
    dates: DateRange
    rows: int
    """Rows of the raw log, whatever is wrong with them."""
    requests: int
    """Without those of bots."""
    items: int
    queries: int
    users: int
    candidate_requests: int
    noise: dict[str, int]
    """Rows by kind, as in ``truth/noise``; they add up to ``rows``."""


def simulate(
    spark: SparkSession, out: str, events: int, seed: int, date_range: DateRange, knobs: SimulateConfig
) -> SimulateReport:
    """Write a log of about ``events`` raw rows over ``date_range`` to ``out``, replacing one that is there.

    Writes ``events``, ``items``, ``candidates``, ``truth/impressions``, ``truth/candidates`` and, last,
    ``truth/noise``: rows by what `ingest` should make of them. Rows of kind 'valid' and 'late' (days after their
    request) are to be kept, those of kind 'outside_range' have a ts after the range and belong to another run, all
    others are to be refused with their kind as the reason.

    Raises UsageError for a number of events below 1, an impossible seed, or files in ``out`` that are no simulated log.
    """
    if events < 1:
        raise UsageError(f"--events {events}: expected the number of raw rows to write, 1 or more")
    plan = plan_log(WorldSpec(seed, events, date_range, knobs))
    _claim(spark, out)
    counts = _write_events(spark, plan, f"{out}/events")
    _write(_frame(spark, 1, lambda _: items_table(plan.spec), ITEMS_DDL), f"{out}/items")
    parts: list[tuple[str, str, int, Callable[[Plan, int], pa.RecordBatch]]] = [
        ("truth/impressions", TRUTH_DDL, plan.request_blocks, truth_of),
        ("candidates", CANDIDATES_DDL, plan.candidate_blocks, candidates_of),
        ("truth/candidates", TRUTH_DDL, plan.candidate_blocks, candidate_truth_of),
    ]
    for name, ddl, blocks, make in parts:
        _write(blocks_frame(spark, plan, blocks, make, ddl), f"{out}/{name}")
    _write(spark.createDataFrame(list(counts.items()), NOISE_DDL).coalesce(1), f"{out}/truth/noise")
    world = build_world(plan.spec)
    return SimulateReport(
        out=out,
        dates=date_range,
        rows=sum(counts.values()),
        requests=plan.requests,
        items=len(world.catalogue),
        queries=len(world.queries),
        users=len(world.users),
        candidate_requests=knobs.candidate_requests,
        noise=counts,
    )


def _claim(spark: SparkSession, out: str) -> None:
    """Mark ``out`` as a simulated log's; UsageError, and no change, where that would replace what is none."""
    mark, files = hadoop_path(spark, f"{out}/{_MARK}")
    marked = files.exists(mark)
    for name in _FOLDERS:
        folder, _ = hadoop_path(spark, f"{out}/{name}")
        log, _ = hadoop_path(spark, f"{out}/{name}/_delta_log")
        if files.exists(log):
            raise UsageError(f"--out {out}: its '{name}' is a Delta table, as of a lake; give a new folder")
        if not marked and files.exists(folder) and files.getContentSummary(folder).getFileCount():
            raise UsageError(
                f"--out {out}: its '{name}' holds files, and no {_MARK} says that they are a simulated log; give a new "
                f"folder, or remove '{name}'"
            )
    files.create(mark, True).close()


def blocks_frame(
    spark: SparkSession,
    plan: Plan,
    blocks: int,
    make: Callable[[Plan, int], pa.RecordBatch],
    ddl: str,
    partitions: int | None = None,
) -> DataFrame:
    """The rows of all blocks as a DataFrame; ``partitions`` changes how the work is cut, not the rows."""
    if partitions is None:
        partitions = max(spark.sparkContext.defaultParallelism, blocks // _BLOCKS_PER_FILE)
    return _frame(spark, blocks, lambda block: make(plan, block), ddl, partitions)


def _frame(
    spark: SparkSession, blocks: int, make: Callable[[int], pa.RecordBatch], ddl: str, partitions: int = 1
) -> DataFrame:
    def run(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for batch in batches:
            for block in batch.column(0).to_pylist():
                yield make(block)

    numbers = spark.range(0, blocks, 1, max(1, min(partitions, blocks)))
    return numbers.mapInArrow(run, ddl)


def _write_events(spark: SparkSession, plan: Plan, path: str) -> dict[str, int]:
    """Write the raw log and count its rows by kind on the way."""
    frame = blocks_frame(spark, plan, plan.event_blocks, events_of, EVENTS_DDL)
    seen = Observation("simulate-noise")
    outside = F.col("outside")
    sums = [_count((F.col("kind") == code) & ~outside).alias(kind) for code, kind in enumerate(KINDS)]
    _write(frame.observe(seen, *sums, _count(outside).alias(OUTSIDE)).drop("kind", "outside"), path)
    return {kind: int(rows) for kind, rows in seen.get.items()}


def _count(condition: Column) -> Column:
    return F.coalesce(F.sum(condition.cast("long")), F.lit(0))


def _write(frame: DataFrame, path: str) -> None:
    frame.write.mode("overwrite").parquet(path)
