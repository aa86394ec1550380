"""Events to daily partials: counts per day, pair and segment, which every window is later summed from.

Every event counts once under (all, '') and once under each segment that it carries. A day's partial depends on that
day's events only, so any day can be rebuilt alone.
"""

from collections.abc import Sequence

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.exchange import Labelled, gathered, hash_bucket, rows_of, scattered
from etl.kernels.blobs import BUCKET
from etl.kernels.daily import USER, daily_of, segment_column


def daily_tables(
    events: DataFrame, actions: Sequence[str], segments: Sequence[str], days: DateRange, tasks: int
) -> DataFrame:
    """The rows of ``interactions_daily`` as tables (see etl.exchange), each of whole pairs of one ds (``ds_of``).

    ``events`` are those of ``days``; each day lies in as few of the ``tasks`` as can be.
    """
    own = [F.col("segments")[name].alias(segment_column(name)) for name in segments]
    user = F.xxhash64("user_id").alias(USER)
    plain = _known(events, actions).select("ds", "query_key", "item_id", "action", user, *own)
    per_day = _buckets_per_day(days, tasks)
    place = F.date_diff(F.to_date("ds"), F.lit(days.start).cast("date")) * per_day
    # By pair, not by query: no query is too large for a task.
    bucket = place + hash_bucket(("query_key", "item_id"), per_day)

    def count(bucket: int, table: pa.Table) -> Labelled:
        return [(bucket, daily_of(table, actions, segments))]

    return gathered(scattered(plain, bucket), count, tasks)


def ds_of(days: DateRange, tasks: int) -> Column:
    """The ds of a table of ``daily_tables``."""
    place = (F.col(BUCKET) / _buckets_per_day(days, tasks)).cast("int")
    return F.date_format(F.date_add(F.lit(days.start).cast("date"), place), "yyyy-MM-dd")


def _buckets_per_day(days: DateRange, tasks: int) -> int:
    return max(1, tasks // len(days))


def interactions_daily(tables: DataFrame, actions: Sequence[str]) -> DataFrame:
    """(ds, query_key, item_id, segment_name, segment_value) -> ``<action>_cnt``, a sketch of the distinct users."""
    return rows_of(tables, daily_columns(actions))


def daily_columns(actions: Sequence[str]) -> dict[str, str]:
    counts = dict.fromkeys(map(c.count, actions), "bigint")
    return dict.fromkeys(("ds", *c.PAIR_KEY), "string") | counts | {c.USERS_SKETCH: "array<bigint>"}


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
