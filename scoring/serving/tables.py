"""What a server looks up by query: numbers of pairs, best items and counts, words' counts. Frames in, frames out."""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.backoff import Backoff, count_columns, words
from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.query_windows import query_windows
from models.fusion import Term
from scoring.folded import fold, segments_of

#: Of a row of ``interactions``: what the fusion adds for it, and what each segment adds that has no row of the pair.
FOLDED, UNSEEN = "folded", "unseen"
KEY = ("query_key", "item_id", "segment_name", "segment_value")


def folded_rows(interactions: DataFrame, terms: Sequence[Term], rates: Sequence[str]) -> DataFrame:
    """KEY -> ``folded``, for every segment that a term reads.

    Where terms read ``rates``, rows under (all, '') have ``unseen``, a number per segment in the order of the terms: a
    segment without a row of the pair has the pair's rates all the same.
    """
    segments = segments_of(terms)
    # Also where no term reads this segment itself: it holds the rates of the others.
    held = [c.ALL_SEGMENT, *segments] if rates and c.ALL_SEGMENT not in segments else segments
    frames = [
        fold(interactions, terms, segment).select(
            "query_key", "item_id", F.lit(segment).alias("segment_name"), F.col("value").alias("segment_value"), FOLDED
        )
        for segment in held
    ]
    rows = reduce(DataFrame.unionByName, frames)
    if not rates:
        return rows
    parts = [_unseen(terms, segment, rates) for segment in segments]
    everyone = interactions.where(F.col("segment_name") == c.ALL_SEGMENT)
    return rows.join(everyone.select(*KEY, F.array(*parts).alias(UNSEEN)), list(KEY), "left")


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


def _unseen(terms: Sequence[Term], segment: str, rates: Sequence[str]) -> Column:
    parts = [
        F.lit(term.slope) * F.log1p(F.lit(term.rate) * F.col(column))
        for term in terms
        for of, _, column in [term.name.partition("__")]
        if of == segment and column in rates
    ]
    return reduce(Column.__add__, parts, F.lit(0.0))
