"""Daily partials and tiles as one frame of rows, each with the days that it is of: what kernels add up."""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.dates import DateRange, ranges_of
from etl.kernels.pairs import DAYS, FIRST_DAY
from etl.kernels.tables import Figures
from etl.lake import Lake
from etl.tiles import table_of


def part_rows(rows: DataFrame, length: int, figures: Figures) -> DataFrame:
    """Rows of ``interactions_daily`` (``length`` 1) or of tiles; the decay of a day is its count."""
    as_decays = []
    if length == 1:
        names = [(action, half_life) for action in figures.actions for half_life in figures.half_lives_days]
        as_decays = [F.col(c.count(action)).cast("double").alias(c.decayed(action, days)) for action, days in names]
    own = [name for name in figures.columns if length > 1 or name not in figures.decays]
    first_day = F.unix_date(F.to_date("ds")).alias(FIRST_DAY)
    return rows.select(*c.PAIR_KEY, first_day, F.lit(length).alias(DAYS), *own, *as_decays)


def rows_of_parts(lake: Lake, parts: Sequence[DateRange], figures: Figures) -> DataFrame:
    """The rows of single days and of tiles, from the tables that hold them."""
    frames = []
    for length in sorted({len(part) for part in parts}):
        held = lake.read(c.INTERACTIONS_DAILY if length == 1 else table_of(length))
        firsts = [part.start for part in parts if len(part) == length]
        frames.append(part_rows(held.where(_is_one_of(firsts)), length, figures))
    return reduce(DataFrame.unionByName, frames)


def _is_one_of(days: list[str]) -> Column:
    spans = [F.col("ds").between(span.start, span.end) for span in ranges_of(days)]
    return reduce(lambda one, other: one | other, spans)
