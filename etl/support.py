"""Which pairs are worth keeping: enough distinct users, and the best items of each query."""

from collections.abc import Sequence

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from etl.config import InteractionsConfig
from etl.contract import columns as c
from etl.windows import TARGET


def supported(
    rows: DataFrame, pairs: DataFrame, engagement_actions: Sequence[str], config: InteractionsConfig
) -> DataFrame:
    """Rows with at least ``min_users`` in the longest window, of the ``top_items_per_query`` best items of each query.

    Best: the most decayed engagement (the ranking head's actions, first half-life) under (all, ''), ties by item_id.
    An item is kept with all its segments or not at all. ``pairs`` are the windowed counts that ``rows`` extend.
    """
    enough_users = F.col(c.window_users(config.longest_days)) >= config.min_users
    if config.top_items_per_query == 0:
        return rows.where(enough_users)
    half_life = config.half_lives_days[0]
    engagement = sum((F.col(c.decayed(action, half_life)) for action in engagement_actions), start=F.lit(0.0))
    best_first = Window.partitionBy(TARGET, "query_key").orderBy(engagement.desc(), "item_id")
    best = (
        pairs.where(enough_users & (F.col("segment_name") == c.ALL_SEGMENT))
        .withColumn("rank", F.row_number().over(best_first))
        .where(F.col("rank") <= config.top_items_per_query)
        .select(TARGET, "query_key", "item_id")
    )
    return rows.where(enough_users).join(best, [TARGET, "query_key", "item_id"], "left_semi")
