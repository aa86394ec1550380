"""Queries with so many events that one task would hold much of the table: they are cut into slices by their items.

No task then has to see such a query whole: its totals are computed beforehand, and its best items chosen afterwards.
Two exceptions: shares among fresh items bring a query's rows together once more, and rates all queries of an item.
"""

from dataclasses import dataclass

import numpy as np
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.exchange import EVENTS_PER_BUCKET, Tasks, power_of_two
from etl.kernels.blobs import NO_SLICES, Slices
from etl.kernels.tables import ENGAGEMENT, HeavyTotals
from etl.partials import DayBuckets
from etl.query_windows import AS_OF, query_windows

#: A query is heavy above this part of what a task would hold if all held the same, and only if it is large at all.
_PART, _EVENTS = 0.5, 1_000_000

# Events that a table of a day is made of, about: below, what a table costs is more than what its rows do.
_EVENTS_PER_TABLE, _TABLES_PER_DAY = 10_000, 4096


@dataclass(frozen=True)
class Heavy:
    slices: Slices
    totals: HeavyTotals

    def is_heavy(self) -> Column:
        return F.col("query_key").isin(*self.slices.heavy)


@dataclass(frozen=True)
class Size:
    """Of the windows of some days: the ``events`` in them, and the ``heavy`` queries, if there are any."""

    events: int
    heavy: Heavy | None


def size_of(queries_daily: DataFrame, days: DateRange, config: EtlConfig, tasks: int, least: int = _EVENTS) -> Size:
    """Queries are heavy for so many ``tasks``; ``queries_daily`` hold the windows of ``days``."""
    counted, events = _everyone(queries_daily, config), F.sum("events").alias("events")
    most, dates = F.max("events").alias("most"), F.collect_set("ds").alias("days")
    [found] = counted.agg(events, most, dates).toLocalIterator()
    whole = found.events or 0
    enough = max(least, int(whole * _PART / tasks) + 1)
    queries: tuple[str, ...] = ()
    # Queries are added up only if one would be heavy that had, every day, what any has on its largest day.
    if whole and found.most * len(found.days) >= enough:
        sizes = counted.groupBy("query_key").agg(events).where(F.col("events") >= enough)
        queries = tuple(sorted(row.query_key for row in sizes.toLocalIterator()))
    if not queries:
        return Size(whole, None)
    return Size(whole, Heavy(_slices(set(queries), tasks), _totals(queries_daily, days, queries, config)))


def day_buckets(events: DataFrame, days: DateRange, tasks: int, least: int = _EVENTS) -> DayBuckets:
    """How the events of ``days`` are cut: days small enough to be added up later without being cut again."""
    one = F.count(F.lit(1)).alias("events")
    largest = max((row.events for row in events.groupBy("ds").agg(one).toLocalIterator()), default=0)
    heavy: set[str] = set()
    # Files tell how many events a day has; only large days are read for their queries.
    if largest >= least:
        large = events.groupBy("ds", "query_key").agg(one).where(F.col("events") >= least)
        heavy = {row.query_key for row in large.toLocalIterator()}
    return DayBuckets(days, _tables_of_a_day(largest), _slices(heavy, tasks))


def tile_buckets(queries_daily: DataFrame, config: EtlConfig, tasks: int, least: int = _EVENTS) -> tuple[Tasks, Slices]:
    """As many as those of one of the days, so that most of their tables pass uncut, or more: each holds all days."""
    counted = _everyone(queries_daily, config)
    [found] = counted.agg(F.sum("events").alias("events"), F.collect_set("ds").alias("days")).toLocalIterator()
    whole, days = found.events or 0, max(1, len(found.days))
    heavy: set[str] = set()
    if whole >= least * days:
        sizes = counted.groupBy("query_key").agg(F.sum("events").alias("events"))
        heavy = {row.query_key for row in sizes.where(F.col("events") >= least * days).toLocalIterator()}
    buckets = max(_tables_of_a_day(whole / days), power_of_two(whole / EVENTS_PER_BUCKET))
    return Tasks(tasks, buckets), _slices(heavy, tasks)


def _tables_of_a_day(events: float) -> int:
    return min(_TABLES_PER_DAY, power_of_two(events / _EVENTS_PER_TABLE))


def _slices(heavy: set[str], tasks: int) -> Slices:
    return Slices(tuple(sorted(heavy)), max(2, tasks)) if heavy else NO_SLICES


def _everyone(queries_daily: DataFrame, config: EtlConfig) -> DataFrame:
    events = sum((F.col(c.count(action)) for action in config.events.actions), start=F.lit(0))
    return queries_daily.where(F.col("segment_name") == c.ALL_SEGMENT).select("ds", "query_key", events.alias("events"))


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
