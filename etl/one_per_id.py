"""Of a catalogue's or candidate set's rows, one per id and day; what becomes of the others is counted, not hidden."""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.contract.dates import DateRange

#: What becomes of a raw row: it is one of its id, or belongs to the run of another day, or names nothing.
_FATE, KEPT, OUTSIDE, NO_ID = "fate", "kept", "outside_range", "without_id"
#: Columns that are maps, of any of the tables.
_MAPS = ("categories", "numerics", "dense", "segments")


@dataclass(frozen=True)
class IdCounts:
    """What became of raw rows; those in range are the ids kept and the two kinds that are not."""

    days: tuple[str, ...]
    """The days that have rows."""
    kept: int
    outside_range: int
    without_id: int
    repeated: int
    """Rows beside the one that is kept of their id and ds."""
    differing: int = 0
    """Requests of a ds whose rows hold different candidate sets."""
    example: str | None = None
    """The least of them."""

    @property
    def in_range(self) -> int:
        return self.kept + self.without_id + self.repeated

    def left_out(self) -> str:
        """In words, the rows that are not kept; '' where all are."""
        found = (
            (self.without_id, "without an id"),
            (self.repeated, "beside another of their id"),
            (self.outside_range, "of other days"),
        )
        return ", ".join(f"{rows} {words}" for rows, words in found if rows)

    def plain(self) -> dict[str, int]:
        """Of every raw row, for the verb's result."""
        return {
            "in_range": self.in_range,
            "outside_range": self.outside_range,
            "kept": self.kept,
            "without_id": self.without_id,
            "repeated": self.repeated,
        }


def by_id(shaped: DataFrame, key: str, days: DateRange, of_all_alike: str | None = None) -> DataFrame:
    """A row for each id (column ``key``) and ds, with the ``row`` that is kept; one for all rows of each other fate.

    ``shaped`` has the table's columns. Those returned are ``fate``, ``ds``, ``id``, ``row``, ``rows`` (how many these
    are) and ``differing``: whether they differ in the column ``of_all_alike``.
    """
    # The least row makes the choice among repeats independent of their order. Maps have none, their entries do.
    whole = F.struct(*(F.map_entries(name).alias(name) if name in _MAPS else name for name in shaped.columns))
    is_kept = F.col(_FATE) == KEPT
    judged = shaped.withColumn(_FATE, _fate(key, days))
    # Whatever is not kept is only counted: no columns of it but its fate.
    groups = judged.groupBy(_FATE, F.when(is_kept, F.col("ds")).alias("ds"), F.when(is_kept, F.col(key)).alias("id"))
    # As structs: null, a list that cannot be read, differs from any other.
    alike = F.when(is_kept, F.struct(F.col(of_all_alike) if of_all_alike else F.lit(0)))
    return groups.agg(
        F.min(F.when(is_kept, whole)).alias("row"),
        F.count("*").alias("rows"),
        (F.min(alike) != F.max(alike)).alias("differing"),
    )


def kept_of(grouped: DataFrame) -> DataFrame:
    """The table's rows, from what ``by_id`` returns."""
    kept = grouped.where(F.col(_FATE) == KEPT).select("row.*")
    return kept.withColumns({name: F.map_from_entries(name) for name in _MAPS if name in kept.columns})


def counts_of(grouped: DataFrame) -> IdCounts:
    """The figures, from what ``by_id`` returns: a row for each day."""
    differing = F.col("differing") & (F.col(_FATE) == KEPT)
    figures = grouped.groupBy(_FATE, "ds").agg(
        F.count("*").alias("ids"),
        F.sum("rows").alias("rows"),
        F.count_if(differing).alias("differing"),
        F.min(F.when(differing, F.struct("ds", "id"))).alias("example"),
    )
    found = list(figures.toLocalIterator())
    kept = [one for one in found if one[_FATE] == KEPT]
    rows = {fate: sum(one["rows"] for one in found if one[_FATE] == fate) for fate in (KEPT, OUTSIDE, NO_ID)}
    examples = sorted((one["example"]["ds"], one["example"]["id"]) for one in kept if one["example"])
    ids = sum(one["ids"] for one in kept)
    return IdCounts(
        days=tuple(sorted(one["ds"] for one in kept)),
        kept=ids,
        outside_range=rows[OUTSIDE],
        without_id=rows[NO_ID],
        repeated=rows[KEPT] - ids,
        differing=sum(one["differing"] for one in kept),
        example=f"'{examples[0][1]}' of {examples[0][0]}" if examples else None,
    )


def _fate(key: str, days: DateRange) -> Column:
    """Half a line that names neither day nor id is without an id; one with an id alone is of no day of the range."""
    inside = F.coalesce(F.col("ds").between(days.start, days.end), F.lit(False))
    named = F.coalesce(F.trim(key) != "", F.lit(False))
    return (
        F.when(inside & named, F.lit(KEPT))
        .when(~inside & (named | F.col("ds").isNotNull()), F.lit(OUTSIDE))
        .otherwise(F.lit(NO_ID))
    )
