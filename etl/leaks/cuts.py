"""Where the past of each row ends: the cuts that a trial changes everything after.

On the day D of the cut every user has an instant of their own: the moment at which one of their requests of D begins,
chosen by hash; users without a request that day have D 00:00. An event is changed if it lies at or after the instant of
its user, so every change is on D or later. A row of a request that begins before its user's instant, or is the chosen
request itself, may see none of it: interactions and catalogues reach to D-1 at most, histories to just before the
request. One instant for everybody would find few requests under way at it, and so be blind to a row that sees its own
request's clicks; this way each active user has a row that stands exactly at the edge.

Of the chosen request the earliest event stays as it is: it says when the request began, who asked and what.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.contract.dates import parse_ds

CUT = "cut"
#: Of an event: whether it lies after the cut and may be changed.
CHANGES = "changes"


def with_cuts(events: DataFrame, cut_ds: str, seed: int) -> DataFrame:
    """Add ``cut``, a timestamp, and ``changes``, a boolean."""
    midnight = F.lit(f"{parse_ds(cut_ds).isoformat()} 00:00:00").cast("timestamp")
    chosen = F.struct(F.xxhash64(F.lit(seed), "request_id"), F.col("first.ts"), F.col("first.event_id"))
    of_users = (
        _begun(events)
        .where(F.col("first.ds") == cut_ds)
        .groupBy(F.col("first.user_id").alias("user_id"))
        .agg(F.min(chosen).alias("chosen"))
        .select("user_id", F.col("chosen.ts").alias("own_cut"), F.col("chosen.event_id").alias("begins"))
    )
    marked = events.join(of_users, "user_id", "left").withColumn(CUT, F.coalesce("own_cut", midnight))
    stays = F.col("event_id").eqNullSafe(F.col("begins"))
    return marked.withColumn(CHANGES, (F.col("ts") >= F.col(CUT)) & ~stays).drop("own_cut", "begins")


def marked_requests(marked: DataFrame) -> DataFrame:
    """(request, before, whole): the export's hash of a request, whether its features may not move, and whether none of
    its own events changes. ``marked`` are the events from which an export knows where requests begin.
    """
    begun = marked.groupBy("request_id").agg(
        F.min(F.struct("ts", "event_id", (~F.col(CHANGES)).alias("stays"))).alias("first"),
        (~F.bool_or(CHANGES)).alias("whole"),
    )
    return begun.select(F.xxhash64("request_id").alias("request"), F.col("first.stays").alias("before"), "whole")


def _begun(events: DataFrame) -> DataFrame:
    """(request_id) -> first: its earliest event."""
    return events.groupBy("request_id").agg(F.min(F.struct("ts", "event_id", "user_id", "ds")).alias("first"))
