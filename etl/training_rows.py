"""Events to training rows: one row per (request, item), with a label per head and a weight.

A request begins at its earliest event, and its rows stand at that time t on its day D. Features of a row may only use
what was known strictly before t; as every event of a request is at t or later, that also shuts out the request itself.
"""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.config import EtlConfig, HeadConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange


def requests(events: DataFrame, days: DateRange) -> DataFrame:
    """(request_id) -> ts, ds, user_id, query_key, segments, as of the earliest event; those that begin in ``days``."""
    first = F.struct("ts", "event_id")
    begun = events.groupBy("request_id").agg(
        F.min("ts").alias("ts"),
        *(F.min_by(name, first).alias(name) for name in ("user_id", "query_key", "segments", "ds")),
    )
    return begun.where(F.col("ds").between(days.start, days.end))


def labelled_pairs(counted: DataFrame, config: EtlConfig) -> DataFrame:
    """One row per request and item of ``counted`` (see etl.maturity), under the ``ds`` on which the request began.

    -> request_id, item_id, ds, ``labels`` (0/1 in the order of the heads), ``position`` (the best one shown, -1 if
    unknown), ``weight`` (double, by priority of action) and ``acted`` (anything but an impression was seen).
    """
    shown = F.when(F.col("action") == c.IMPRESSION, F.col("position"))
    return counted.groupBy("request_id", "ds", "item_id").agg(
        F.array(*(_label(head) for head in config.heads)).alias("labels"),
        F.coalesce(F.min(shown), F.lit(-1)).alias("position"),
        _weight(config.export.row_weights).alias("weight"),
        F.max(F.col("action") != c.IMPRESSION).alias("acted"),
    )


def _label(head: HeadConfig) -> Column:
    label = F.max(F.col("action").isin(*head.actions))
    return (label & ~F.max(F.col("action").isin(*head.veto)) if head.veto else label).cast("tinyint")


def _weight(row_weights: Mapping[str, float]) -> Column:
    """The weight of the first action, in the order of the mapping, that the group has."""
    seen = [F.when(F.max(F.col("action") == action), F.lit(weight)) for action, weight in row_weights.items()]
    return F.coalesce(*seen, F.lit(1.0))
