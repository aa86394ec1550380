"""A pair's cross features folded into one number by Spark SQL: what a linear fusion adds to the dot product.

The fusion's part of a score is a sum of terms slope * log1p(rate * x), so that a row of ``interactions`` folds alone,
one number per pair and segment value. Where a pair has no row, everything is 0 but its rates, which back off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.backoff import RATES
from etl.contract import columns as c
from models.fusion import Term

FOLDED = "folded"


@dataclass(frozen=True)
class Rates:
    """(query_key, item_id) -> ``rates``, an array of doubles named ``names``."""

    frame: DataFrame
    names: Sequence[str]


def segments_of(terms: Sequence[Term]) -> list[str]:
    """The segments that any term reads, in the order of the terms."""
    return list(dict.fromkeys(_split(term)[0] for term in terms))


def fold(interactions: DataFrame, terms: Sequence[Term], segment: str) -> DataFrame:
    """(query_key, item_id, value) -> ``folded`` (double), of the rows under one segment."""
    of_segment = interactions.where(F.col("segment_name") == segment)
    parts = [_contribution(term, _value(_split(term)[1])) for term in terms if _split(term)[0] == segment]
    return of_segment.select(
        "query_key", "item_id", F.col("segment_value").alias("value"), reduce(add, parts, F.lit(0.0)).alias(FOLDED)
    )


def with_cross_score(
    pairs: DataFrame, interactions: DataFrame, terms: Sequence[Term], constant: float, rates: Rates | None = None
) -> DataFrame:
    """Add ``cross`` (double) to pairs with query_key, item_id and segments; rows and their number do not change.

    ``rates`` tells those of pairs that a segment has no row of, by name. The segments' numbers are added in the order
    of the terms: the sum is the same in every run.
    """
    total = F.lit(float(constant))
    asked = pairs.select("query_key").distinct()
    relevant = interactions.join(asked, "query_key", "left_semi") if terms else interactions
    names = [] if rates is None else rates.names
    if rates is not None:
        pairs = pairs.join(rates.frame, ["query_key", "item_id"], "left")
    for segment in segments_of(terms):
        name = f"__folded_{segment}"
        value = F.lit(c.ALL_VALUE) if segment == c.ALL_SEGMENT else F.col("segments")[segment]
        folded = fold(relevant, terms, segment).withColumnRenamed(FOLDED, name)
        pairs = pairs.withColumn("value", value).join(folded, ["query_key", "item_id", "value"], "left").drop("value")
        total = total + F.coalesce(F.col(name), _without_row(terms, segment, names))
    return pairs.withColumn("cross", total).drop(*(f"__folded_{segment}" for segment in segments_of(terms)), RATES)


def _without_row(terms: Sequence[Term], segment: str, names: Sequence[str]) -> Column:
    """What a segment adds for a pair that it has no row of: its rates' terms."""
    parts = [
        _contribution(term, F.coalesce(F.get(RATES, F.lit(names.index(_split(term)[1]))), F.lit(0.0)))
        for term in terms
        if _split(term)[0] == segment and _split(term)[1] in names
    ]
    return reduce(add, parts, F.lit(0.0))


def _split(term: Term) -> tuple[str, str]:
    segment, _, column = term.name.partition("__")
    return segment, column


def _value(column: str) -> Column:
    return F.lit(1.0) if column == c.HAS_HISTORY else F.greatest(F.col(column).cast("double"), F.lit(0.0))


def _contribution(term: Term, value: Column) -> Column:
    return F.lit(term.slope) * F.log1p(F.lit(term.rate) * value)
