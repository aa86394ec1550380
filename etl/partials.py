"""Events to daily partials: counts per day, pair and segment, which every window is later summed from.

Every event counts once under (all, '') and once under each segment that it carries. A day's partial depends on that
day's events only, so any day can be rebuilt alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.dates import DateRange, day_number
from etl.exchange import Tasks, gathered, rows_of, scattered
from etl.kernels.blobs import BUCKET, DDL, NO_SLICES, TABLE, Slices, from_value, hashed
from etl.kernels.codes import Ints, codes_of
from etl.kernels.daily import USER, PositionPriors, acted, daily_of, moments_of, segment_column
from etl.parts import BUCKETS, MOMENTS


@dataclass(frozen=True)
class DayBuckets:
    """How the pairs of each of ``days`` are cut: into ``queries`` buckets of whole queries, a power of two, and heavy
    queries into slices by their items."""

    days: DateRange
    queries: int
    slices: Slices = NO_SLICES

    def __len__(self) -> int:
        return len(self.days) * self.queries

    def place(self, table: pa.Table) -> Ints:
        ds, known = codes_of(table["ds"])
        first = day_number(self.days.start)
        day = np.array([day_number(one) - first for one in known.to_pylist()], dtype=np.int64)[ds]
        bucket = day * self.queries + hashed(table, ["query_key"]) % self.queries
        return bucket + self.slices.of(table) * len(self)

    def columns(self) -> list[Column]:
        """ds, bucket and number of buckets of a day's table."""
        of_query = F.pmod(F.col(BUCKET), F.lit(len(self)))
        day = F.floor(of_query / F.lit(self.queries)).cast("int")
        ds = F.date_format(F.date_add(F.lit(self.days.start).cast("date"), day), "yyyy-MM-dd")
        bucket = F.pmod(of_query, F.lit(self.queries))
        return [ds.alias("ds"), bucket.alias(BUCKET), F.lit(self.queries).alias(BUCKETS)]


def daily_tables(
    events: DataFrame, actions: Sequence[str], segments: Sequence[str], buckets: DayBuckets, tasks: int,
    positions: PositionPriors | None = None,
) -> DataFrame:  # fmt: skip
    """The rows of ``interactions_daily`` as tables (see etl.exchange), each of whole pairs of one ds.

    With ``positions`` of the same days, the actions that they let expect as well.
    """
    own = [F.col("segments")[name].alias(segment_column(name)) for name in segments]
    user = F.xxhash64("user_id").alias(USER)
    position = [] if positions is None else ["position"]
    plain = _known(events, actions).select("ds", "query_key", "item_id", "action", *position, user, *own)

    def count(table: pa.Table) -> Iterable[tuple[int, pa.Table]]:
        return [(0, daily_of(table, actions, segments, positions))]

    return gathered(scattered(plain, buckets.place), count, Tasks(tasks, len(buckets)))


def tiles_of_days(tables: DataFrame, actions: Sequence[str], buckets: DayBuckets) -> DataFrame:
    """(ds, bucket, buckets, table, moments): the tables of ``daily_tables`` as the lake keeps them.

    A pair lies in one table only, so that the moments of a day's tables add up to the day's.
    """
    names = sorted(actions)

    def add(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = [moments_of(from_value(value), names).ravel() for value in batch[TABLE]]
            yield batch.append_column(MOMENTS, pa.array(found, pa.list_(pa.int64())))

    summed = tables.mapInArrow(add, f"{DDL}, {MOMENTS} array<bigint>")
    return summed.select(*buckets.columns(), TABLE, MOMENTS)


def interactions_daily(tables: DataFrame, actions: Sequence[str], expected: bool = False) -> DataFrame:
    """(ds, query_key, item_id, segment_name, segment_value) -> ``<action>_cnt``, a sketch of the distinct users;
    ``<action>_expected`` where ``expected``."""
    names = [*map(c.count, actions), *(map(c.expected, acted(actions)) if expected else ())]
    counts = dict.fromkeys(names, "bigint")
    keys = dict.fromkeys(("ds", *c.PAIR_KEY), "string")
    return rows_of(tables, keys | counts | {c.USERS_SKETCH: "array<bigint>"})


def queries_daily(events: DataFrame, actions: Sequence[str], segments: Sequence[str]) -> DataFrame:
    """(ds, query_key, segment_name, segment_value) -> ``<action>_cnt``, ``requests`` (distinct request_id)."""
    rows = _by_segment(_known(events, actions), segments, "query_key", "request_id", "action")
    return rows.groupBy("ds", *c.QUERY_KEY).agg(*_counts(actions), F.countDistinct("request_id").alias("requests"))


def _known(events: DataFrame, actions: Sequence[str]) -> DataFrame:
    """Without the events of actions that were configured when they were ingested and no longer are."""
    return events.where(F.col("action").isin(*actions))


def _by_segment(events: DataFrame, segments: Sequence[str], *columns: str) -> DataFrame:
    """One row per event and segment that it counts under."""
    everyone = F.array(_segment(F.lit(c.ALL_SEGMENT), F.lit(c.ALL_VALUE)))
    own = F.array(*(_segment(F.lit(name), F.col("segments")[name]) for name in segments)) if segments else None
    carried = F.filter(own, lambda segment: segment["value"].isNotNull()) if own is not None else None
    each = everyone if carried is None else F.concat(everyone, carried)
    rows = events.select("ds", *columns, F.explode(each).alias("segment"))
    return rows.select(
        "ds",
        *columns,
        F.col("segment.name").alias("segment_name"),
        F.col("segment.value").alias("segment_value"),
    )


def _segment(name: Column, value: Column) -> Column:
    return F.struct(name.alias("name"), value.alias("value"))


def _counts(actions: Sequence[str]) -> list[Column]:
    return [F.count_if(F.col("action") == action).alias(c.count(action)) for action in actions]
