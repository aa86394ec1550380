"""Tables as bytes, so that a shuffle moves a few large values instead of millions of rows.

A task cuts its rows into one table per *bucket*; Spark brings the tables of a bucket together, whose rows a kernel then
meets as one table. Which rows share a bucket is the caller's to say; the order of a bucket's rows is nobody's. Tables
that are added up also say which *part* (some days) they are of.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from etl.kernels.codes import Ints

BUCKET, PART, TABLE = "bucket", "part", "table"
DDL = f"{BUCKET} int, {PART} int, {TABLE} binary"
_SCHEMA = pa.schema({BUCKET: pa.int32(), PART: pa.int32(), TABLE: pa.binary()})

#: Rows that a task collects before it cuts them: more make fewer, larger tables.
ROWS = 500_000
# Rows and bytes of one value: it has to fit a page of Parquet and a batch on its way to a worker.
_TABLE_ROWS, _TABLE_BYTES = 200_000, 64_000_000
# An odd number without pattern.
_MIX = np.uint64(0x9E3779B97F4A7C15)
# Rows of one batch on its way to Spark.
_BATCH_ROWS = 20_000
_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd")

Labelled: TypeAlias = tuple[int, int, pa.Table]
"""Bucket, part, rows."""


@dataclass(frozen=True)
class Slices:
    """Heavy queries are cut into ``many`` slices by their items, so that none is too large for a task.

    Slice s of bucket b among n is the bucket b + s n.
    """

    heavy: tuple[str, ...] = ()
    many: int = 1

    def of(self, table: pa.Table) -> Ints:
        """(N,) the slice of each row; 0 of queries that are not heavy."""
        if not self.heavy:
            return np.zeros(table.num_rows, dtype=np.int64)
        spread = pc.is_in(table["query_key"], pa.array(self.heavy)).to_numpy()
        return np.where(spread, hashed(table, ["item_id"]) % self.many, 0)

    def buckets(self, buckets: int) -> set[int]:
        """Those of so many that hold heavy queries."""
        if not self.heavy:
            return set()
        return set((hashed(pa.table({"query_key": list(self.heavy)}), ["query_key"]) % buckets).tolist())


NO_SLICES = Slices()


def cut(table: pa.Table, buckets: Ints, part: int = 0) -> Iterator[pa.RecordBatch]:
    """Rows (bucket, part, table), ascending; rows of a bucket keep their order."""
    order = np.argsort(buckets, kind="stable")
    buckets = buckets[order]
    edges = np.flatnonzero(np.diff(buckets, prepend=-1, append=-1))
    whole = table.take(order).combine_chunks()
    for start, end in pairwise(edges):
        yield from uncut(whole.slice(start, end - start), int(buckets[start]), part)


def uncut(table: pa.Table, bucket: int, part: int = 0) -> Iterator[pa.RecordBatch]:
    """Rows (bucket, part, table) of one bucket: several for a large table."""
    rows = max(1, min(_TABLE_ROWS, table.num_rows * _TABLE_BYTES // max(1, table.nbytes)))
    for start in range(0, max(1, table.num_rows), rows):
        yield row(bucket, part, to_bytes(table.slice(start, rows)))


def row(bucket: int, part: int, value: bytes | pa.BinaryScalar) -> pa.RecordBatch:
    columns = [pa.array([bucket], pa.int32()), pa.array([part], pa.int32()), pa.array([value], pa.binary())]
    return pa.record_batch(columns, schema=_SCHEMA)


def to_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def from_value(value: pa.BinaryScalar) -> pa.Table:
    return pa.ipc.open_stream(value.as_buffer()).read_all()


def tables_of(batches: Iterable[pa.RecordBatch]) -> Iterator[Labelled]:
    """The table of every row."""
    for batch in batches:
        for bucket, part, value in zip(batch[BUCKET], batch[PART], batch[TABLE], strict=True):
            yield bucket.as_py(), part.as_py(), from_value(value)


def joined(
    batches: Iterable[pa.RecordBatch], shape: Callable[[int, pa.Table], pa.Table] | None = None
) -> Iterator[tuple[int, pa.Table]]:
    """One table per bucket, from rows that are sorted by it; ``shape`` is given the part and its rows before that."""
    held: list[pa.Table] = []
    last = -1
    for bucket, part, table in tables_of(batches):
        if held and bucket != last:
            yield last, pa.concat_tables(held).combine_chunks()
            held = []
        held.append(table if shape is None else shape(part, table))
        last = bucket
    if held:
        yield last, pa.concat_tables(held).combine_chunks()


def collected(batches: Iterable[pa.RecordBatch], rows: int = ROWS) -> Iterator[pa.Table]:
    """Plain batches as tables of at least so many rows, but for the last."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        if count >= rows:
            yield pa.Table.from_batches(held).combine_chunks()
            held, count = [], 0
    if count:
        yield pa.Table.from_batches(held).combine_chunks()


def plain(table: pa.Table, names: Iterable[str]) -> Iterator[pa.RecordBatch]:
    """A table's rows for Spark, its columns in the order of ``names``."""
    return iter(table.select(list(names)).to_batches(max_chunksize=_BATCH_ROWS))


def hashed(table: pa.Table, names: Iterable[str]) -> Ints:
    """(N,) a hash of string columns, not negative, equal for equal strings in every process."""
    result = np.zeros(table.num_rows, dtype=np.uint64)
    for name in names:
        encoded = table[name].combine_chunks().dictionary_encode()
        hashes = pd.util.hash_array(encoded.dictionary.to_numpy(zero_copy_only=False))
        result = result * _MIX + hashes[encoded.indices.to_numpy(zero_copy_only=False)]
    return (result >> np.uint64(1)).astype(np.int64)
