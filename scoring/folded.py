"""A query's interactions as the rows of its packed lists (see scoring.cross_lists), in Spark SQL.

A linear fusion's part of a score is a sum of terms slope * log1p(rate * x), so a row of ``interactions`` folds alone
into one number per pair and segment value. Any other fusion gets the row's columns as they are. Where a pair has no
row, everything is 0 but its rates, which back off.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.backoff import RATES
from etl.contract import columns as c
from models.contract import Ranker
from models.fusion import Fusion, LinearFusionRanker, Term
from scoring.cross_lists import CrossLayout

#: The list of what pairs without a row have: all segments' values together.
RATES_LIST = "rates"
_SEPARATOR = "\x00"


@dataclass(frozen=True)
class Rates:
    """(query_key, item_id) -> ``rates``, an array of doubles named ``names``."""

    frame: DataFrame
    names: Sequence[str]


@dataclass(frozen=True)
class CrossPlan:
    """Which columns of ``interactions`` a model's score reads, ``columns`` by segment, and what it makes of them."""

    columns: dict[str, tuple[str, ...]]
    terms: tuple[Term, ...] | None
    """Those of a linear fusion; None for any other."""
    layout: CrossLayout

    @classmethod
    def for_model(cls, model: Ranker, cross: Sequence[str]) -> "CrossPlan":
        """``cross`` (C) are the features that the model was made for; of one that reads none, none are carried."""
        if isinstance(model, LinearFusionRanker):
            fusion = model.fusion()
            return cls.of([term.name for term in fusion.terms()], fusion)
        return cls.of(cross if model.cross_read() else (), None)

    @classmethod
    def of(cls, cross: Sequence[str], fusion: Fusion | None) -> "CrossPlan":
        """For a model with these cross features (C)."""
        columns: dict[str, list[str]] = {}
        places: dict[str, list[int]] = {}
        for place, name in enumerate(cross):
            segment, _, column = name.partition("__")
            columns.setdefault(segment, []).append(column)
            places.setdefault(segment, []).append(place)
        segments = tuple(columns)
        if fusion is None:
            layout = CrossLayout(segments, tuple(tuple(places[segment]) for segment in segments))
        else:
            layout = CrossLayout(segments, tuple((at,) for at in range(len(segments))), fusion.constant())
        kept = {segment: tuple(names) for segment, names in columns.items()}
        return cls(kept, None if fusion is None else fusion.terms(), layout)

    def reads(self, names: Sequence[str]) -> bool:
        """Whether any of these columns counts."""
        return any(set(names) & set(columns) for columns in self.columns.values())

    def values(self, segment: str) -> list[Column]:
        """A list's values of a row under ``segment``."""
        if self.terms is None:
            return [_value(column).cast("float") for column in self.columns[segment]]
        return [_sum(_contribution(term, _value(_column(term))) for term in self._of(segment))]

    def without_row(self, names: Sequence[str]) -> list[Column]:
        """All segments' values of a pair that no segment has a row of, from RATES in the order of ``names``."""
        if self.terms is None:
            # In the order of the features, which is that of the layout's places.
            places = [place for at in self.layout.places for place in at]
            found = [_rate(name, names) for columns in self.columns.values() for name in columns]
            return [value.cast("float") for _, value in sorted(zip(places, found, strict=True), key=lambda one: one[0])]
        sums = []
        for segment in self.columns:
            terms = [term for term in self._of(segment) if _column(term) in names]
            sums.append(_sum(_contribution(term, _rate(_column(term), names)) for term in terms))
        return sums

    def _of(self, segment: str) -> list[Term]:
        return [term for term in self.terms or () if term.name.partition("__")[0] == segment]


def list_name(segment: str, value: Column) -> Column:
    """The name of a list among those of its query."""
    return F.concat(F.lit(segment + _SEPARATOR), value)


def list_rows(interactions: DataFrame, plan: CrossPlan, rates: Rates | None) -> DataFrame:
    """(query_key, name, item, values): the rows of every list, ``item`` the hash of an item_id."""
    parts = []
    for segment in plan.columns:
        of_segment = interactions.where(F.col("segment_name") == segment)
        name = list_name(segment, F.col("segment_value"))
        parts.append(_rows(of_segment, name, plan.values(segment)))
    if rates is not None:
        parts.append(_rows(rates.frame, F.lit(RATES_LIST), plan.without_row(rates.names)))
    return reduce(DataFrame.unionByName, parts)


def request_lists(plan: CrossPlan, lists: str) -> Column:
    """Of a request with ``segments`` and its query's lists by name: one per segment, null for none."""
    found = []
    for segment in plan.columns:
        value = F.lit(c.ALL_VALUE) if segment == c.ALL_SEGMENT else F.col("segments")[segment]
        found.append(F.try_element_at(F.col(lists), list_name(segment, value)))
    return F.array(*found).cast("array<binary>")


def _rows(frame: DataFrame, name: Column, values: Sequence[Column]) -> DataFrame:
    return frame.select(
        "query_key",
        name.alias("name"),
        F.xxhash64("item_id").alias("item"),
        F.array(*values).cast("array<float>").alias("values"),
    )


def _column(term: Term) -> str:
    return term.name.partition("__")[2]


def _rate(column: str, names: Sequence[str]) -> Column:
    if column not in names:
        return F.lit(0.0)
    return F.coalesce(F.get(RATES, F.lit(list(names).index(column))), F.lit(0.0))


def _value(column: str) -> Column:
    return F.lit(1.0) if column == c.HAS_HISTORY else F.col(column).cast("double")


def _contribution(term: Term, value: Column) -> Column:
    return F.lit(term.slope) * F.log1p(F.lit(term.rate) * F.greatest(value, F.lit(0.0)))


def _sum(parts: Iterable[Column]) -> Column:
    return reduce(add, parts, F.lit(0.0))
