"""Events to training rows: one row per (request, item), with a label per head.

A request begins at its earliest event, and its rows stand at that time t on its day D. Features of a row may only use
what was known strictly before t; as every event of a request is at t or later, that also shuts out the request itself.
"""

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.config import HeadConfig
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


def training_rows(events: DataFrame, begun: DataFrame, heads: Sequence[HeadConfig]) -> DataFrame:
    """One row per request of ``begun`` and item: the request's columns, ``item_id``, ``position``, ``labels``.

    ``labels`` is an array of 0/1 in the order of ``heads``; ``position`` is the best one shown, -1 if unknown.
    """
    labels = [F.max(F.col("action").isin(*head.actions).cast("tinyint")) for head in heads]
    shown = F.when(F.col("action") == c.IMPRESSION, F.col("position"))
    pairs = events.groupBy("request_id", "item_id").agg(
        F.array(*labels).alias("labels"), F.coalesce(F.min(shown), F.lit(-1)).alias("position")
    )
    return pairs.join(begun, "request_id")
