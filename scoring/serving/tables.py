"""What a server looks up by query: numbers of pairs, best items and counts, words' counts. Frames in, frames out."""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.backoff import RATES, Backoff, count_columns, words
from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.query_windows import query_windows
from scoring.folded import CrossPlan

#: Of a row of ``interactions``: what the fusion adds for it, and what each segment adds that has no row of the pair.
FOLDED, UNSEEN = "folded", "unseen"
KEY = ("query_key", "item_id", "segment_name", "segment_value")


def folded_rows(interactions: DataFrame, plan: CrossPlan, rates: Sequence[str]) -> DataFrame:
    """KEY -> ``folded``, for every segment that a term of a linear fusion reads.

    Where terms read ``rates``, rows under (all, '') have ``unseen``, a number per segment in the order of the plan: a
    segment without a row of the pair has the pair's rates all the same.
    """
    segments = list(plan.columns)
    # Also where no term reads this segment itself: it holds the rates of the others.
    held = [c.ALL_SEGMENT, *segments] if rates and c.ALL_SEGMENT not in segments else segments
    frames = [
        interactions.where(F.col("segment_name") == segment).select(
            *KEY, (plan.values(segment)[0] if segment in plan.columns else F.lit(0.0)).alias(FOLDED)
        )
        for segment in held
    ]
    rows = reduce(DataFrame.unionByName, frames)
    if not rates:
        return rows
    everyone = interactions.where(F.col("segment_name") == c.ALL_SEGMENT)
    everyone = everyone.withColumn(RATES, F.array(*(F.col(name).cast("double") for name in rates)))
    return rows.join(everyone.select(*KEY, F.array(*plan.without_row(rates)).alias(UNSEEN)), list(KEY), "left")


def raw_rows(interactions: DataFrame, names: Sequence[str]) -> DataFrame:
    """KEY -> the columns that cross features ``names`` read, as float, for every segment that they name.

    Rows under (all, '') are there in any case: they hold the rates of segments without a row of the pair.
    """
    segments = {c.ALL_SEGMENT, *(name.partition("__")[0] for name in names)}
    columns = [F.col(name).cast("float").alias(name) for name in raw_columns(names)]
    return interactions.where(F.col("segment_name").isin(*sorted(segments))).select(*KEY, *columns)


def raw_columns(names: Sequence[str]) -> list[str]:
    """The columns of ``interactions`` behind cross features: all but whether there is a row."""
    columns = dict.fromkeys(name.partition("__")[2] for name in names)
    return [name for name in columns if name != c.HAS_HISTORY]


def query_rows(best: DataFrame | None, backoff: Backoff | None, as_of: str, config: EtlConfig) -> DataFrame | None:
    """(query_key) -> ``items``, best first, and, where rates back off, ``counts`` in the order of ``count_columns``."""
    lists = None if best is None else best.select("query_key", "items")
    if backoff is None:
        return lists
    everyone = backoff.queries_daily.where(F.col("segment_name") == c.ALL_SEGMENT)
    counted = query_windows(everyone, DateRange(as_of, as_of), config)
    counts = counted.select("query_key", F.array(*count_columns(config)).alias("counts"))
    return counts if lists is None else lists.join(counts, "query_key", "full")


def word_rows(backoff: Backoff, config: EtlConfig) -> DataFrame:
    """(word, item_id) -> ``counts``: of the item under all queries with the word, as ``count_columns`` has them."""
    everyone = backoff.interactions.where(F.col("segment_name") == c.ALL_SEGMENT)
    seen = everyone.select("item_id", *count_columns(config), words().alias("word"))
    sums = [F.sum(name) for name in count_columns(config)]
    return seen.groupBy("word", "item_id").agg(F.array(*sums).alias("counts"))
