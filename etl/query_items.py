"""The best items of each query: what a query tower sees of its own history (the paper's 20 best-performing items)."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.manifest import QUERY_ITEMS_LENGTH


def can_rank(config: EtlConfig) -> bool:
    return "decay" in config.interactions.families


def best_items(interactions: DataFrame, config: EtlConfig, most: int = QUERY_ITEMS_LENGTH) -> DataFrame:
    """(ds, query_key) -> ``items``, array<string>: at most ``most`` that were engaged with, best first.

    Best: the most decayed engagement under (all, ''), as for ``top_items_per_query``; ties by item_id.
    """
    half_life = config.interactions.half_lives_days[0]
    engagement = sum(
        (F.col(c.decayed(action, half_life)) for action in sorted(config.engagement_actions)), start=F.lit(0.0)
    )
    everyone = interactions.where((F.col("segment_name") == c.ALL_SEGMENT) & (engagement > 0))
    ranked = everyone.groupBy("ds", "query_key").agg(
        F.array_sort(F.collect_list(F.struct((-engagement).alias("rank"), "item_id"))).alias("ranked")
    )
    items = F.slice(F.transform("ranked", lambda one: one["item_id"]), 1, most)
    return ranked.select("ds", "query_key", items.alias("items"))
