"""The parts that windows are summed from: tiles, from the tables that hold them, on their way to the buckets of a job.

Tiles lie in the lake cut by query already, so that most of them pass as the bytes that they are; what was cut more
coarsely than a job needs, or holds a heavy query, is cut here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.contract.dates import DateRange, ranges_of
from etl.kernels.blobs import BUCKET, DDL, PART, TABLE, cut, from_value, hashed, row
from etl.kernels.codes import Ints
from etl.lake import Lake
from etl.tiles import table_of

#: Of a stored tile: into how many buckets it was cut.
BUCKETS = "buckets"


def tables_of_parts(lake: Lake, parts: Sequence[DateRange]) -> DataFrame:
    """(bucket, buckets, part, table) of tiles; part is the place in ``parts``."""
    frames = []
    for length in sorted({len(part) for part in parts}):
        places = {part.start: place for place, part in enumerate(parts) if len(part) == length}
        held = lake.read(table_of(length)).where(_is_one_of(list(places)))
        frames.append(held.select(BUCKET, BUCKETS, looked_up("ds", places).alias(PART), TABLE))
    return reduce(DataFrame.unionByName, frames)


def routed(tables: DataFrame, buckets: int, heavy: Sequence[str] = ()) -> DataFrame:
    """Tables (see etl.exchange) of the tables of tiles: by query in ``buckets``, a power of two, heavy ones by item."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            held = zip(*(batch[name] for name in (BUCKET, BUCKETS, PART)), batch[TABLE], strict=True)
            for bucket, of, part, value in held:
                if of.as_py() >= buckets and bucket.as_py() not in _heavy_buckets(heavy, of.as_py()):
                    yield row(bucket.as_py() % buckets, part.as_py(), value)
                else:
                    table = from_value(value)
                    yield from cut(table, _query_buckets(table, heavy, buckets), part.as_py())

    return tables.mapInArrow(run, DDL)


def looked_up(column: str, places: Mapping[Any, Any]) -> Column:
    """The value of a column's value."""
    return F.create_map(*(F.lit(one) for entry in places.items() for one in entry))[F.col(column)]


def _query_buckets(table: pa.Table, heavy: Sequence[str], buckets: int) -> Ints:
    """A bucket for each query, of heavy ones for each item."""
    hashes = hashed(table, ["query_key"])
    if heavy:
        spread = pc.is_in(table["query_key"], pa.array(heavy)).to_numpy()
        hashes = np.where(spread, hashed(table, ["query_key", "item_id"]), hashes)
    return hashes % buckets


def _heavy_buckets(heavy: Sequence[str], buckets: int) -> set[int]:
    if not heavy:
        return set()
    return set((hashed(pa.table({"query_key": list(heavy)}), ["query_key"]) % buckets).tolist())


def _is_one_of(days: list[str]) -> Column:
    spans = [F.col("ds").between(span.start, span.end) for span in ranges_of(days)]
    return reduce(lambda one, other: one | other, spans)
