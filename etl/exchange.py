"""Kernels in Spark's workers, with a shuffle of whole tables between them (see etl.kernels.blobs).

``scattered`` cuts plain rows into tables, ``gathered`` runs a kernel over the joined tables of each bucket, ``rows_of``
makes plain rows of tables again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.kernels.blobs import BUCKET, DDL, blob, collected, cut, hashed, joined, plain, tables_of

Kernel: TypeAlias = Callable[[pa.Table], Iterable[pa.Table]]
"""All rows of a bucket, in any order, to tables of one schema."""

Batches: TypeAlias = Iterable[pa.RecordBatch]
Columns: TypeAlias = Mapping[str, str]
"""Spark types by column name."""


def scattered(frame: DataFrame, bucket: Column) -> DataFrame:
    """The rows of ``frame`` as tables, by their ``bucket`` (int, not negative)."""

    def run(batches: Batches) -> Iterator[pa.RecordBatch]:
        for table in collected(batches):
            yield from cut(table.drop_columns([BUCKET]), table[BUCKET].to_numpy())

    return frame.withColumn(BUCKET, bucket).mapInArrow(run, DDL)


def gathered(tables: DataFrame, kernel: Kernel, tasks: int, by: str | None = None, buckets: int = 1) -> DataFrame:
    """The tables that ``kernel`` makes of each bucket, under the same bucket or under one of ``buckets`` hashes of
    the column ``by``."""

    def run(batches: Batches) -> Iterator[pa.RecordBatch]:
        for bucket, table in joined(batches):
            for made in kernel(table):
                yield from [blob(bucket, made)] if by is None else cut(made, hashed(made[by], buckets))

    return _together(tables, tasks).mapInArrow(run, DDL)


def gathered_rows(tables: DataFrame, kernel: Kernel, tasks: int, columns: Columns) -> DataFrame:
    """As ``gathered``, as plain rows."""

    def run(batches: Batches) -> Iterator[pa.RecordBatch]:
        for _, table in joined(batches):
            for made in kernel(table):
                yield from plain(made, columns)

    return _together(tables, tasks).mapInArrow(run, _ddl(columns))


def rows_of(tables: DataFrame, kernel: Kernel, columns: Columns) -> DataFrame:
    """Plain rows of what ``kernel`` makes of each table alone."""

    def run(batches: Batches) -> Iterator[pa.RecordBatch]:
        for _, table in tables_of(batches):
            for made in kernel(table):
                yield from plain(made, columns)

    return tables.mapInArrow(run, _ddl(columns))


def unchanged(table: pa.Table) -> Iterable[pa.Table]:
    """The kernel that makes nothing of it."""
    return (table,)


def hash_bucket(columns: Iterable[str | Column], buckets: int) -> Column:
    return F.pmod(F.xxhash64(*columns), F.lit(buckets)).cast("int")


def _together(tables: DataFrame, tasks: int) -> DataFrame:
    # The buckets of a task one after the other: it holds one at a time.
    return tables.repartitionById(tasks, F.pmod(BUCKET, F.lit(tasks))).sortWithinPartitions(BUCKET)


def _ddl(columns: Columns) -> str:
    return ", ".join(f"`{name}` {kind}" for name, kind in columns.items())
