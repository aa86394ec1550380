"""Kernels in Spark's workers, with a shuffle of whole tables between them (see etl.kernels.blobs).

``scattered`` cuts plain rows into tables, ``gathered`` runs a kernel over the joined tables of each bucket, ``rows_of``
makes plain rows of tables again. Tables are a DataFrame (bucket int, part int, table binary).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.kernels.blobs import BUCKET, DDL, collected, cut, hashed, joined, plain, tables_of, uncut
from etl.kernels.codes import Ints

Kernel: TypeAlias = Callable[[pa.Table], Iterable[tuple[int, pa.Table]]]
"""All rows of a bucket, in any order, to tables of one schema, each with the part that it is of."""

Place: TypeAlias = Callable[[pa.Table], Ints]
"""The bucket of each row."""

Shape: TypeAlias = Callable[[int, pa.Table], pa.Table]
"""A part and rows of it to the rows that a kernel is given."""

Columns: TypeAlias = Mapping[str, str]
"""Spark types by column name."""

_Batches: TypeAlias = Iterable[pa.RecordBatch]


#: Events whose pairs a bucket holds, evenly spread, at most: some 100 MB of a worker's memory.
EVENTS_PER_BUCKET = 1_000_000
# So that tasks are about equal whatever their number is.
_BUCKETS_PER_TASK = 4


@dataclass(frozen=True)
class Tasks:
    """Over how many tasks, and buckets one after the other in them, a table is spread."""

    tasks: int
    buckets: int

    @classmethod
    def of(cls, tasks: int, events: int) -> "Tasks":
        return cls(tasks, power_of_two(max(_BUCKETS_PER_TASK * tasks, events / EVENTS_PER_BUCKET)))


def power_of_two(least: float) -> int:
    """The smallest that is not less."""
    return 1 << max(0, math.ceil(math.log2(max(1, least))))


def scattered(frame: DataFrame, place: Place) -> DataFrame:
    """The rows of ``frame`` as tables, by their bucket."""

    def run(batches: _Batches) -> Iterator[pa.RecordBatch]:
        for table in collected(batches):
            yield from cut(table, place(table))

    return frame.mapInArrow(run, DDL)


def gathered(
    tables: DataFrame, kernel: Kernel, tasks: Tasks, place: Place | None = None, shape: Shape | None = None
) -> DataFrame:
    """What ``kernel`` makes of all rows of each bucket, under the same bucket or cut anew by ``place``.

    Neighbouring buckets share a task; the slices of one (see etl.kernels.blobs) do not.
    """

    def run(batches: _Batches) -> Iterator[pa.RecordBatch]:
        for bucket, table in joined(batches, shape):
            for part, made in kernel(table):
                yield from uncut(made, bucket, part) if place is None else cut(made, place(made), part)

    bucket, many = F.col(BUCKET).cast("bigint"), F.lit(tasks.buckets)
    neighbours = F.floor(F.pmod(bucket, many) * F.lit(tasks.tasks) / many)
    task = F.pmod(neighbours + F.floor(bucket / many), F.lit(tasks.tasks)).cast("int")
    # The buckets of a task one after the other: it holds one at a time.
    return tables.repartitionById(tasks.tasks, task).sortWithinPartitions(BUCKET).mapInArrow(run, DDL)


def rows_of(tables: DataFrame, columns: Columns, kernel: Kernel | None = None) -> DataFrame:
    """Plain rows: of the tables, or of what ``kernel`` makes of each."""

    def run(batches: _Batches) -> Iterator[pa.RecordBatch]:
        for _, _, table in tables_of(batches):
            for _, made in [(0, table)] if kernel is None else kernel(table):
                yield from plain(made, columns)

    return tables.mapInArrow(run, ", ".join(f"`{name}` {kind}" for name, kind in columns.items()))


def unchanged(table: pa.Table) -> Iterable[tuple[int, pa.Table]]:
    """The kernel that only brings a bucket's rows together."""
    return [(0, table)]


def by_hash(buckets: int, *names: str) -> Place:
    """A bucket for each value of some string columns."""
    return lambda table: hashed(table, names) % buckets
