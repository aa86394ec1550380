"""What a row sees of its query's own history: the query's best items as of D-1-lag_days (see etl.query_items)."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.item_versions import VERSION
from etl.lake import Lake
from etl.query_items import can_rank
from etl.query_windows import AS_OF

LIST = "query_items"
NO_LIST = -1


def best_items_seen(lake: Lake, config: EtlConfig, rows: DataFrame, seen: DateRange) -> DataFrame:
    """(ds, query_key, item_version, items array<string>) of each query that ``rows`` ask on each ds, if it has any.

    ``rows`` carry ds, as_of_ds and item_version; an item of a list is described as the row's own items are. ``seen``
    holds every as_of_ds. A configuration that ranks no items has no lists.
    """
    asked = rows.select("ds", AS_OF, "query_key", VERSION).distinct()
    if not can_rank(config):
        return asked.where(F.lit(False)).drop(AS_OF).withColumn("items", F.array().cast("array<string>"))
    lists = lake.read(c.QUERY_ITEMS, seen).select(F.col("ds").alias(AS_OF), "query_key", "items")
    return asked.join(lists, [AS_OF, "query_key"]).where(F.size("items") > 0).drop(AS_OF)


def entries_of(lists: DataFrame) -> DataFrame:
    """Numbered lists as (query_items, place, item_id, item_version), place from 0 for the best."""
    return lists.select(LIST, VERSION, F.posexplode("items").alias("place", "item_id"))


def numbered(lists: DataFrame) -> DataFrame:
    """Add the dense index ``query_items`` by ds and query: the same lists get the same numbers in every run."""
    order = Window.orderBy("ds", "query_key")
    return lists.withColumn(LIST, (F.row_number().over(order) - 1).cast("int"))


def as_rows_of_items(lists: DataFrame, items: DataFrame) -> DataFrame:
    """(query_items, items array<int>): numbered lists with the export's item indices, best first."""
    located = entries_of(lists).join(items.select("item", "item_id", VERSION), ["item_id", VERSION])
    ordered = located.groupBy(LIST).agg(F.array_sort(F.collect_list(F.struct("place", "item"))).alias("entries"))
    return ordered.select(LIST, F.transform("entries", lambda entry: entry["item"]).alias("items"))


def with_list(rows: DataFrame, lists: DataFrame) -> DataFrame:
    """Add to each row the number of its list, -1 for none."""
    joined = rows.join(lists.select("ds", "query_key", LIST), ["ds", "query_key"], "left")
    return joined.withColumn(LIST, F.coalesce(LIST, F.lit(NO_LIST)))
