"""Queries with so many events that one task would hold much of the table: their items are spread over all tasks.

No task then sees such a query whole, so that its totals are computed beforehand, and its best items chosen afterwards.
"""

from dataclasses import dataclass

import numpy as np
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.exchange import Tasks, power_of_two
from etl.kernels.tables import ENGAGEMENT, HeavyTotals
from etl.partials import DayBuckets
from etl.query_windows import AS_OF, query_windows

#: A query is heavy above this part of what a task would hold if all held the same, and only if it is large at all.
_PART, _EVENTS = 0.5, 1_000_000

# Events that a table of a day is made of, about: below, what a table costs is more than what its rows do.
_EVENTS_PER_TABLE = 10_000


@dataclass(frozen=True)
class Heavy:
    queries: tuple[str, ...]
    totals: HeavyTotals

    def is_heavy(self) -> Column:
        return F.col("query_key").isin(*self.queries)


@dataclass(frozen=True)
class Size:
    """Of the windows of some days: the ``events`` in them, and the ``heavy`` queries, if there are any."""

    events: int
    heavy: Heavy | None


def size_of(queries_daily: DataFrame, days: DateRange, config: EtlConfig, tasks: int, least: int = _EVENTS) -> Size:
    """Queries are heavy for so many ``tasks``; ``queries_daily`` hold the windows of ``days``."""
    sizes = _everyone(queries_daily, config).groupBy("query_key").agg(F.sum("events").alias("events"))
    large = F.when(F.col("events") >= least, F.struct("query_key", "events"))
    [found] = sizes.agg(F.sum("events").alias("events"), F.collect_list(large).alias("large")).toLocalIterator()
    whole = found.events or 0
    queries = tuple(sorted(row.query_key for row in found.large if row.events * tasks > whole * _PART))
    return Size(whole, Heavy(queries, _totals(queries_daily, days, queries, config)) if queries else None)


def day_buckets(events: DataFrame, days: DateRange, tasks: int, least: int = _EVENTS) -> DayBuckets:
    """How the events of ``days`` are cut: days small enough to be added up later without being cut again."""
    sizes = events.groupBy("ds", "query_key").agg(F.count(F.lit(1)).alias("events"))
    large = F.when(F.col("events") >= least, F.col("query_key"))
    by_day = sizes.groupBy("ds").agg(F.sum("events").alias("events"), F.collect_set(large).alias("heavy"))
    found = list(by_day.toLocalIterator())
    heavy = tuple(sorted({query for row in found for query in row.heavy}))
    most = max((row.events for row in found), default=0)
    return DayBuckets(days, power_of_two(most / _EVENTS_PER_TABLE), tasks if heavy else 1, heavy)


def tile_buckets(queries_daily: DataFrame, days: int, config: EtlConfig, tasks: int) -> Tasks:
    """As many as those of one of the ``days``, so that most of their tables pass uncut."""
    return Tasks(tasks, power_of_two(event_count(queries_daily, config) / days / _EVENTS_PER_TABLE))


def event_count(queries_daily: DataFrame, config: EtlConfig) -> int:
    [found] = _everyone(queries_daily, config).agg(F.sum("events").alias("events")).toLocalIterator()
    return int(found.events or 0)


def _everyone(queries_daily: DataFrame, config: EtlConfig) -> DataFrame:
    events = sum((F.col(c.count(action)) for action in config.events.actions), start=F.lit(0))
    return queries_daily.where(F.col("segment_name") == c.ALL_SEGMENT).select("query_key", events.alias("events"))


def best_of_heavy(rows: DataFrame, heavy: Heavy | None, most: int) -> DataFrame:
    """Of heavy queries, whose tasks each kept their ``most`` best items, the best of all; drops ``engagement``."""
    if heavy is None:
        return rows
    if most == 0:
        return rows.drop(ENGAGEMENT)
    order = Window.partitionBy("ds", "query_key").orderBy(F.col(ENGAGEMENT).desc(), "item_id")
    of_heavy = rows.where(heavy.is_heavy())
    best = of_heavy.where(F.col("segment_name") == c.ALL_SEGMENT).withColumn("place", F.row_number().over(order))
    best = best.where(F.col("place") <= most).select("ds", "query_key", "item_id")
    kept = of_heavy.join(best, ["ds", "query_key", "item_id"], "left_semi").select(*rows.columns)
    return rows.where(~heavy.is_heavy()).unionByName(kept).drop(ENGAGEMENT)


def _totals(queries_daily: DataFrame, days: DateRange, queries: tuple[str, ...], config: EtlConfig) -> HeavyTotals:
    asked = queries_daily.where(F.col("query_key").isin(*queries))
    shape = (len(config.events.actions), len(config.interactions.windows_days))
    names = [c.window_count(action, days_) for action in config.events.actions
             for days_ in sorted(config.interactions.windows_days)]  # fmt: skip
    return {
        (row[AS_OF], *(row[name] for name in c.QUERY_KEY)): np.array([row[name] for name in names]).reshape(shape)
        for row in query_windows(asked, days, config).toLocalIterator()
    }
