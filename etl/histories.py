"""User histories: what a user did with items, in time order, and how much of it a request could see."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from etl.contract import columns as c

_REQUEST, _ACTION = 0, 1


def actions_of(events: DataFrame, users: DataFrame) -> DataFrame:
    """The engagements (every action but an impression) of ``users``."""
    return events.where(F.col("action") != c.IMPRESSION).join(users.select("user_id"), "user_id", "left_semi")


def with_history_end(begun: DataFrame, actions: DataFrame) -> DataFrame:
    """Add ``history_end`` to requests: how many of the user's actions lie strictly before the request's ts."""
    marks = begun.select("user_id", "ts", F.lit(_REQUEST).alias("kind"), "request_id").unionByName(
        actions.select("user_id", "ts", F.lit(_ACTION).alias("kind"), F.lit(None).cast("string").alias("request_id"))
    )
    # At equal ts the request sorts first, so an action at t itself is not before it.
    before = Window.partitionBy("user_id").orderBy("ts", "kind").rowsBetween(Window.unboundedPreceding, 0)
    counted = marks.withColumn("history_end", F.sum("kind").over(before).cast("int"))
    ends = counted.where(F.col("kind") == _REQUEST).select("request_id", "history_end")
    return begun.join(ends, "request_id")


def trimmed(begun: DataFrame, actions: DataFrame, length: int) -> tuple[DataFrame, DataFrame]:
    """Requests and actions without the actions that no request sees among its last ``length``.

    ``history_end`` of the requests is counted anew from their user's first action that is left.
    """
    of_user = Window.partitionBy("user_id")
    first = F.greatest(F.min("history_end").over(of_user) - length, F.lit(0))
    begun = begun.withColumn("first", first)
    reach = begun.groupBy("user_id").agg(F.max("first").alias("first"), F.max("history_end").alias("last"))
    # The order of as_lists: with it, an action's number is its place in the list.
    numbered = actions.withColumn("number", F.row_number().over(of_user.orderBy("ts", "event_id")))
    seen = numbered.join(reach, "user_id").where(
        (F.col("number") > F.col("first")) & (F.col("number") <= F.col("last"))
    )
    begun = begun.withColumn("history_end", F.col("history_end") - F.col("first")).drop("first")
    return begun, seen.drop("first", "last", "number")


def as_lists(actions: DataFrame) -> DataFrame:
    """(user_id) -> ``items``, ``actions``, ``ts`` (epoch seconds), each in time order.

    ``actions`` carries item and action as the indices that the export uses.
    """
    entry = F.struct("ts", "event_id", "item", F.col("action_index").alias("action"))
    ordered = actions.groupBy("user_id").agg(F.array_sort(F.collect_list(entry)).alias("entries"))
    return ordered.select(
        "user_id",
        F.transform("entries", lambda entry: entry["item"]).alias("items"),
        F.transform("entries", lambda entry: entry["action"]).alias("actions"),
        F.transform("entries", lambda entry: F.unix_seconds(entry["ts"])).alias("ts"),
    )
