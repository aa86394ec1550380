"""Queries with so many events that one task would hold much of the table: their items are spread over several tasks.

No task then sees such a query whole, so that its totals are computed beforehand, and its best items chosen afterwards.
"""

from dataclasses import dataclass

import numpy as np
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.kernels.pairs import ITEMS
from etl.kernels.tables import ENGAGEMENT, HeavyTotals
from etl.query_windows import AS_OF, query_windows

SALT = "salt"

#: A query is heavy above this part of what a task would hold if all held the same, and only if it is large at all.
_PART, _EVENTS = 0.5, 1_000_000


@dataclass(frozen=True)
class Heavy:
    """``salts`` tasks share each of ``queries``."""

    queries: tuple[str, ...]
    salts: int
    totals: HeavyTotals

    def is_heavy(self) -> Column:
        return F.col("query_key").isin(*self.queries)


def heavy_queries(
    queries_daily: DataFrame, days: DateRange, config: EtlConfig, tasks: int, least: int = _EVENTS
) -> Heavy | None:
    """The heavy queries of the windows of ``days`` for so many ``tasks``; None where there are none, as is usual."""
    events = sum((F.col(c.count(action)) for action in config.events.actions), start=F.lit(0))
    everyone = queries_daily.where(F.col("segment_name") == c.ALL_SEGMENT)
    sizes = everyone.groupBy("query_key").agg(F.sum(events).alias("events"))
    whole = sizes.agg(F.sum("events").alias("all"))
    above = sizes.crossJoin(F.broadcast(whole)).where(
        (F.col("events") >= least) & (F.col("events") * tasks > F.col("all") * _PART)
    )
    queries = tuple(sorted(row.query_key for row in above.toLocalIterator()))
    if not queries:
        return None
    return Heavy(queries, max(2, tasks), _totals(queries_daily, days, queries, config))


def spread(packed: DataFrame, heavy: Heavy | None) -> DataFrame:
    """Add ``salt``, 0 but for heavy queries, whose rows are cut into one per salt by a hash of the item."""
    if heavy is None:
        return packed.withColumn(SALT, F.lit(0))
    light = packed.where(~heavy.is_heavy()).withColumn(SALT, F.lit(0))
    salts = F.explode(F.sequence(F.lit(0), F.lit(heavy.salts - 1)))
    cut = packed.where(heavy.is_heavy()).withColumn(SALT, salts)
    of_salt = F.transform(ITEMS, lambda item: F.pmod(F.xxhash64(item), F.lit(heavy.salts)) == F.col(SALT))
    cut = cut.withColumn("mine", of_salt)
    lists = [name for name in packed.columns if packed.schema[name].dataType.typeName() == "array"]
    for name in lists:
        cut = cut.withColumn(name, F.filter(name, lambda value, place: F.get("mine", place)))
    return light.unionByName(cut.drop("mine").where(F.size(ITEMS) > 0))


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
