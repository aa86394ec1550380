"""Daily partials and tiles as packed rows: one row per part, query and segment, its items and figures as lists.

Packed, a query's items travel through a shuffle as one row, and a worker meets them as arrays (see etl.kernels).
"""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.dates import DateRange, ranges_of
from etl.kernels.pairs import DAYS, FIRST_DAY, ITEMS
from etl.kernels.tables import Figures
from etl.lake import Lake
from etl.tiles import table_of


def packed_days(daily: DataFrame, figures: Figures) -> DataFrame:
    """Rows of ``interactions_daily``, each a list of one item. A day's decay is its count: it brings none."""
    lists = {name: F.col(name) for name in figures.lists} | dict.fromkeys(figures.decays, F.lit(None).cast("double"))
    return daily.select(
        *c.QUERY_KEY,
        F.unix_date(F.to_date("ds")).alias(FIRST_DAY),
        F.lit(1).alias(DAYS),
        F.array("item_id").alias(ITEMS),
        *(F.array(value).alias(name) for name, value in lists.items()),
    )


def packed_parts(lake: Lake, parts: Sequence[DateRange], figures: Figures) -> DataFrame:
    """The packed rows of single days and of tiles, from the tables that hold them."""
    days = [part.start for part in parts if len(part) == 1]
    frames = [packed_days(_days_of(lake.read(c.INTERACTIONS_DAILY), days), figures)]
    for length in sorted({len(part) for part in parts} - {1}):
        tiles = lake.read(table_of(length)).where(
            F.col("ds").isin([part.start for part in parts if len(part) == length])
        )
        frames.append(
            tiles.select(
                *c.QUERY_KEY,
                F.unix_date(F.to_date("ds")).alias(FIRST_DAY),
                F.lit(length).alias(DAYS),
                ITEMS,
                *figures.lists,
            )
        )
    return reduce(DataFrame.unionByName, frames)


def grouped(packed: DataFrame, *key: str) -> DataFrame:
    """Rows of equal ``key`` together, in the order in which the kernels add them up."""
    return packed.repartition(*key).sortWithinPartitions(*key, *c.SEGMENT_KEY, FIRST_DAY, DAYS)


def in_tile(packed: DataFrame, length: int) -> DataFrame:
    """Add ``tile``, the number of the first day of the tile of ``length`` days that a day lies in."""
    return packed.withColumn("tile", F.col(FIRST_DAY) - F.pmod(F.col(FIRST_DAY), F.lit(length)))


def _days_of(daily: DataFrame, days: list[str]) -> DataFrame:
    spans = [F.col("ds").between(span.start, span.end) for span in ranges_of(days)]
    return daily.where(reduce(lambda one, other: one | other, spans, F.lit(False)))
