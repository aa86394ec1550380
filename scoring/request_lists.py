"""Candidate sets as scoring requests: one row each, with item rows, folded cross scores and the query side's lists."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.contract import columns as c
from models.features import FeatureSpec
from models.fusion import Fusion
from scoring.folded import Rates, with_cross_score


def scoring_pairs(candidates: DataFrame, item_rows: DataFrame) -> DataFrame:
    """(request_id, item_id) once each, with ``item_row``, null for an item that the catalogue does not hold."""
    pairs = candidates.select(
        "request_id", "query_key", "segments", F.explode(F.array_distinct("items")).alias("item_id")
    )
    return pairs.join(F.broadcast(item_rows), "item_id", "left")


def scoring_requests(
    candidates: DataFrame, pairs: DataFrame, interactions: DataFrame, fusion: Fusion, spec: FeatureSpec,
    histories: DataFrame, best: DataFrame, rates: Rates | None,
) -> DataFrame:  # fmt: skip
    """One row per request of ``candidates``, also of those without a known item; lists are in the order of item_id."""
    known = pairs.where("item_row IS NOT NULL")
    scored = with_cross_score(known, interactions, fusion.terms(), fusion.constant(), rates)
    entry = F.struct("item_id", "item_row", "cross")
    lists = scored.groupBy("request_id").agg(F.array_sort(F.collect_list(entry)).alias("entries"))
    values = [F.coalesce(F.col("segments")[name], F.lit("")) for name in spec.segments]
    joined = candidates.join(lists, "request_id", "left").join(histories, "user_id", "left")
    joined = joined.join(best, "query_key", "left")
    return joined.select(
        "ds", "request_id", "query_key", "user_id", "segments",
        F.array(*values).cast("array<string>").alias("segment_values"),
        _list("entries", "item_row", "int").alias("item_rows"),
        _list("entries", "item_id", "string").alias("items"),
        _list("entries", "cross", "double").alias("cross"),
        _list("history", "item_row", "int").alias("history_rows"),
        _list("history", "action", "tinyint").alias("history_actions"),
        _list("history", "age", "bigint").alias("history_ages"),
        _list("best", "item_row", "int").alias("best_rows"),
    )  # fmt: skip


def recent_actions(events: DataFrame, users: DataFrame, item_rows: DataFrame, actions: Sequence[str], ds: str,
                   length: int) -> DataFrame:  # fmt: skip
    """(user_id) -> ``history``: the last ``length`` engagements before the start of ``ds``, latest first.

    Ages are seconds before ``ds`` begins: a candidate set carries no time of its own. Actions on items that the
    catalogue does not hold are left out.
    """
    start = F.lit(ds).cast("timestamp")
    codes = F.array(*(F.lit(action) for action in actions))
    acted = events.where((F.col("action") != c.IMPRESSION) & (F.col("ts") < start))
    acted = acted.join(F.broadcast(users.select("user_id").distinct()), "user_id", "left_semi")
    entry = F.struct(
        (F.unix_seconds(start) - F.unix_seconds("ts")).alias("age"),
        "event_id",
        "item_row",
        (F.array_position(codes, F.col("action")) - 1).cast("tinyint").alias("action"),
    )
    known = acted.join(F.broadcast(item_rows), "item_id")
    grouped = known.groupBy("user_id").agg(F.array_sort(F.collect_list(entry)).alias("all"))
    return grouped.select("user_id", F.slice("all", 1, length).alias("history"))


def best_items_of(lists: DataFrame, item_rows: DataFrame) -> DataFrame:
    """(query_key) -> ``best``: the items of ``query_items`` of one day, best first, but for those without a row."""
    entries = lists.select("query_key", F.posexplode("items").alias("place", "item_id"))
    known = entries.join(F.broadcast(item_rows), "item_id")
    return known.groupBy("query_key").agg(F.array_sort(F.collect_list(F.struct("place", "item_row"))).alias("best"))


def _list(column: str, field: str, kind: str) -> Column:
    return F.coalesce(F.transform(column, lambda entry: entry[field].cast(kind)), F.array().cast(f"array<{kind}>"))
