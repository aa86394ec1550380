"""A sorted frame as one Parquet file with row groups of one size, so that a reader finds a key by the groups' bounds.

Spark sorts and writes parts; they pass through the driver a row group at a time.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame

from etl.arrow_files import arrow_type
from etl.contract.paths import file_uri


def write_sorted(frame: DataFrame, keys: Sequence[str], kinds: Mapping[str, str], path: Path, group_rows: int) -> int:
    """Write the columns ``kinds`` (name to Arrow type, as etl.contract.manifest spells it); returns the rows.

    Texts sort by their UTF-8 bytes. The same rows make the same file, however Spark has cut them.
    """
    scratch = path.with_suffix(".parts")
    frame.select(*kinds).orderBy(*keys).write.parquet(file_uri(scratch))
    schema = pa.schema([(name, arrow_type(kind)) for name, kind in kinds.items()])
    rows = write_batches(_batches(sorted(scratch.glob("part-*.parquet")), schema), schema, path, group_rows)
    shutil.rmtree(scratch)
    return rows


def write_batches(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, group_rows: int) -> int:
    """Write batches of ``schema`` in the order that they come in; returns the rows."""
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(batches, group_rows):
            writer.write_table(group, row_group_size=group_rows)
            rows += len(group)
    return rows


def _batches(parts: Iterable[Path], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for part in parts:
        for batch in pq.ParquetFile(part).iter_batches(columns=schema.names):
            yield pa.RecordBatch.from_arrays(
                [batch.column(field.name).cast(field.type) for field in schema], schema=schema
            )


def _groups(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    """The same rows in tables of ``size`` rows; the last may be smaller."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        while sum(map(len, held)) >= size:
            table = pa.Table.from_batches(held)
            yield table.slice(0, size)
            held = table.slice(size).to_batches()
    if any(map(len, held)):
        yield pa.Table.from_batches(held)
