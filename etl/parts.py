"""The parts that windows are summed from: tiles, from the tables that hold them."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.contract.dates import DateRange, ranges_of
from etl.kernels.blobs import BUCKET, TABLE
from etl.lake import Lake
from etl.tiles import table_of


def tables_of_parts(lake: Lake, parts: Sequence[DateRange]) -> DataFrame:
    """The tables of tiles (see etl.exchange); their bucket is the place of their tile in ``parts``."""
    frames = []
    for length in sorted({len(part) for part in parts}):
        places = {part.start: place for place, part in enumerate(parts) if len(part) == length}
        held = lake.read(table_of(length)).where(_is_one_of(list(places)))
        frames.append(held.select(looked_up("ds", places).alias(BUCKET), TABLE))
    return reduce(DataFrame.unionByName, frames)


def _is_one_of(days: list[str]) -> Column:
    spans = [F.col("ds").between(span.start, span.end) for span in ranges_of(days)]
    return reduce(lambda one, other: one | other, spans)


def looked_up(column: str, places: Mapping[Any, Any]) -> Column:
    """The value of a column's value."""
    return F.create_map(*(F.lit(one) for entry in places.items() for one in entry))[F.col(column)]
