"""Which of a day's impressions have interactions to go by."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.negatives import as_of
from etl.operations.figures import QueryGroup, tier_shares
from etl.query_windows import AS_OF


def impressions(events: DataFrame, config: EtlConfig) -> DataFrame:
    """What was shown; in a log without impressions, whatever was done."""
    return events.where(F.col("action") == c.IMPRESSION) if c.IMPRESSION in config.events.actions else events


def coverage(shown: DataFrame, interactions: DataFrame, config: EtlConfig) -> dict[str, dict[str, float]]:
    """ds -> share with interactions as of D-1-lag_days: of impressions, and of head, torso and tail queries.

    An impression has them if its pair stands in ``interactions`` (segment all), a query if one of its impressions has.
    Days without impressions are left out.
    """
    pairs = shown.groupBy("ds", "query_key", "item_id").agg(F.count(F.lit(1)).alias("n"))
    known = interactions.where(F.col("segment_name") == c.ALL_SEGMENT).select(
        F.col("ds").alias(AS_OF), "query_key", "item_id", F.lit(True).alias("known")
    )
    joined = pairs.withColumn(AS_OF, as_of(config.interactions.lag_days)).join(
        known, [AS_OF, "query_key", "item_id"], "left"
    )
    queries = joined.groupBy("ds", "query_key").agg(
        F.sum("n").alias("shown"), F.coalesce(F.sum(F.when(F.col("known"), F.col("n"))), F.lit(0)).alias("covered")
    )
    # As many rows as there are different numbers of impressions of a query: few, however many queries.
    groups = queries.groupBy("ds", "shown").agg(
        F.count(F.lit(1)).alias("queries"),
        F.count_if(F.col("covered") > 0).alias("known"),
        F.sum("covered").alias("covered"),
    )
    by_day: dict[str, list[QueryGroup]] = {}
    covered: dict[str, int] = {}
    for row in groups.toLocalIterator():
        by_day.setdefault(row.ds, []).append(QueryGroup(row.shown, row.queries, row.known))
        covered[row.ds] = covered.get(row.ds, 0) + row.covered
    return {ds: _shares(groups_of_day, covered[ds]) for ds, groups_of_day in sorted(by_day.items())}


def _shares(groups: list[QueryGroup], covered: int) -> dict[str, float]:
    total = sum(group.shown * group.queries for group in groups)
    return {"impressions": covered / total, **tier_shares(groups)}
