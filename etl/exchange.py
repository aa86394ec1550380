"""Kernels in Spark's workers, with a shuffle of whole tables between them (see etl.kernels.blobs).

``scattered`` cuts plain rows into tables, ``mapped`` runs a kernel over each table, ``gathered`` over the joined tables
of each bucket, ``rows_of`` makes plain rows of tables again. Tables are a DataFrame (bucket int, table binary).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.kernels.blobs import BUCKET, DDL, collected, cut, joined, plain, tables_of, uncut
from etl.kernels.codes import Ints

Labelled: TypeAlias = Iterable[tuple[int, pa.Table]]
Kernel: TypeAlias = Callable[[int, pa.Table], Labelled]
"""A bucket and its rows, in any order, to tables of one schema, each with the bucket that it belongs to."""

Place: TypeAlias = Callable[[pa.Table], Ints]
"""The bucket of each row, where a kernel's tables are to be cut."""

Columns: TypeAlias = Mapping[str, str]
"""Spark types by column name."""

_Batches: TypeAlias = Iterable[pa.RecordBatch]


def scattered(frame: DataFrame, bucket: Column) -> DataFrame:
    """The rows of ``frame`` as tables, by their ``bucket`` (int, not negative)."""

    def run(batches: _Batches) -> Iterator[pa.RecordBatch]:
        for table in collected(batches):
            yield from cut(table.drop_columns([BUCKET]), table[BUCKET].to_numpy())

    return frame.withColumn(BUCKET, bucket).mapInArrow(run, DDL)


def mapped(tables: DataFrame, kernel: Kernel, place: Place | None = None) -> DataFrame:
    """What ``kernel`` makes of each table alone."""

    def run(batches: _Batches) -> Iterator[pa.RecordBatch]:
        return _cut(_made(kernel, tables_of(batches)), place)

    return tables.mapInArrow(run, DDL)


def gathered(tables: DataFrame, kernel: Kernel, tasks: int, place: Place | None = None) -> DataFrame:
    """What ``kernel`` makes of all rows of each bucket."""

    def run(batches: _Batches) -> Iterator[pa.RecordBatch]:
        return _cut(_made(kernel, joined(batches)), place)

    # The buckets of a task one after the other: it holds one at a time.
    together = tables.repartitionById(tasks, F.pmod(BUCKET, F.lit(tasks))).sortWithinPartitions(BUCKET)
    return together.mapInArrow(run, DDL)


def rows_of(tables: DataFrame, columns: Columns, kernel: Kernel | None = None) -> DataFrame:
    """Plain rows: of the tables, or of what ``kernel`` makes of each."""

    def run(batches: _Batches) -> Iterator[pa.RecordBatch]:
        found = tables_of(batches) if kernel is None else _made(kernel, tables_of(batches))
        for _, table in found:
            yield from plain(table, columns)

    return tables.mapInArrow(run, ", ".join(f"`{name}` {kind}" for name, kind in columns.items()))


def unchanged(bucket: int, table: pa.Table) -> Labelled:
    """The kernel that only brings a bucket's rows together."""
    return [(bucket, table)]


def hash_bucket(columns: Iterable[str | Column], buckets: int) -> Column:
    return F.pmod(F.xxhash64(*columns), F.lit(buckets)).cast("int")


def _made(kernel: Kernel, tables: Labelled) -> Iterator[tuple[int, pa.Table]]:
    for bucket, table in tables:
        yield from kernel(bucket, table)


def _cut(tables: Labelled, place: Place | None) -> Iterator[pa.RecordBatch]:
    for bucket, table in tables:
        yield from uncut(table, bucket) if place is None else cut(table, place(table))
