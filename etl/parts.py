"""The parts that windows are summed from: tiles, from the tables that hold them, on their way to the buckets of a job.

Tiles lie in the lake cut by query already, so that most of them pass as the bytes that they are; what was cut more
coarsely than a job needs, or holds a heavy query, is cut here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.contract.dates import DateRange, ranges_of
from etl.kernels.blobs import BUCKET, DDL, NO_SLICES, PART, TABLE, Slices, cut, from_value, hashed, row
from etl.lake import Lake
from etl.tiles import table_of

#: Of a stored tile: into how many buckets it was cut.
BUCKETS = "buckets"
#: Of a table of a day: for each action, by name, the sum of n and of n (n - 1) over its pairs (see etl.priors).
MOMENTS = "moments"


def tables_of_parts(lake: Lake, parts: Sequence[DateRange]) -> DataFrame:
    """(bucket, buckets, part, table) of tiles; part is the place in ``parts``."""
    frames = []
    for length in sorted({len(part) for part in parts}):
        places = {part.start: place for place, part in enumerate(parts) if len(part) == length}
        held = lake.read(table_of(length)).where(_is_one_of(list(places)))
        frames.append(held.select(BUCKET, BUCKETS, looked_up("ds", places).alias(PART), TABLE))
    return reduce(DataFrame.unionByName, frames)


def routed(tables: DataFrame, buckets: int, slices: Slices = NO_SLICES) -> DataFrame:
    """Tables (see etl.exchange) of the tables of tiles, by query in ``buckets``, a power of two, and in ``slices``."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        heavy: dict[int, set[int]] = {}
        for batch in batches:
            numbers = zip(*(batch[name].to_pylist() for name in (BUCKET, BUCKETS, PART)), strict=True)
            for (bucket, of, part), value in zip(numbers, batch[TABLE], strict=True):
                if of >= buckets and bucket not in heavy.setdefault(of, slices.buckets(of)):
                    yield row(bucket % buckets, part, value)
                else:
                    table = from_value(value)
                    places = hashed(table, ["query_key"]) % buckets + slices.of(table) * buckets
                    yield from cut(table, places, part)

    return tables.mapInArrow(run, DDL)


def looked_up(column: str, places: Mapping[Any, Any]) -> Column:
    """The value of a column's value."""
    return F.create_map(*(F.lit(one) for entry in places.items() for one in entry))[F.col(column)]


def _is_one_of(days: list[str]) -> Column:
    spans = [F.col("ds").between(span.start, span.end) for span in ranges_of(days)]
    return reduce(lambda one, other: one | other, spans)
