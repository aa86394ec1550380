"""The Arrow files of an export, mapped into memory: columns are views of the file and cost no memory of their own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import ipc

from models.checks import check_width
from models.errors import ExportError


def open_table(path: Path, columns: Mapping[str, str], rows: int) -> pa.RecordBatch:
    """The named columns of one file; ExportError if it is damaged or is not what the manifest says.

    ``columns`` says each one's type, as ``SCHEMA`` of etl.contract.manifest spells it.
    """
    try:
        reader = ipc.open_file(pa.memory_map(str(path)))
        found = {field.name: _spelled(field.type) for field in reader.schema}
        for name, kind in columns.items():
            if found.get(name) != kind:
                raise ExportError(
                    f"{path}: column '{name}' should be {kind}, found {found.get(name, 'none')}. Export again."
                )
        if reader.num_record_batches != 1:
            raise ExportError(f"{path} has {reader.num_record_batches} record batches, expected 1. Export again.")
        table = reader.get_batch(0)
    except (OSError, pa.ArrowInvalid) as error:
        raise ExportError(f"{path} cannot be read ({error}). Export again.") from error
    if len(table) != rows:
        raise ExportError(f"{path} has {len(table)} rows, its manifest says {rows}. Export again.")
    return table.select(list(columns))


def list_views(where: str, table: pa.RecordBatch, name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """Offsets (rows + 1,) and values of a list column of numbers, neither of them copied."""
    column = table.column(name)
    if column.null_count or column.values.null_count:
        raise ExportError(f"{where}: column '{name}' holds nulls. Export again.")
    offsets, values = column.offsets.to_numpy(), column.values.to_numpy()
    if offsets[0] != 0 or offsets[-1] != len(values) or (offsets[1:] < offsets[:-1]).any():
        raise ExportError(f"{where}: the lists of column '{name}' do not follow each other. Export again.")
    return offsets, values


def matrix_view(where: str, table: pa.RecordBatch, name: str, width: int) -> npt.NDArray[Any]:
    """(rows, width) of a list column of numbers whose lists have the same length; not copied."""
    _, values = list_views(where, table, name)
    check_width(where, name, len(values), len(table), width)
    return values.reshape(len(table), width)


def vectors(where: str, table: pa.RecordBatch, name: str) -> npt.NDArray[Any]:
    """(rows, E) of a list column of numbers; a row with an empty list gets zeros. Copied only where there are such."""
    offsets, values = list_views(where, table, name)
    lengths = np.diff(offsets)
    width = int(lengths.max(initial=0))
    if not np.isin(lengths, (0, width)).all():
        raise ExportError(f"{where}: '{name}' vectors differ in length between items. Export again.")
    if len(values) == len(table) * width:
        return values.reshape(len(table), width)
    dense = np.zeros((len(table), width), dtype=values.dtype)
    dense[lengths == width] = values.reshape(-1, width)
    return dense


def _spelled(kind: pa.DataType) -> str:
    """A type as the manifest spells it."""
    if pa.types.is_large_list(kind):
        return f"large_list<{_spelled(kind.value_type)}>"
    return {"float": "float32", "double": "float64"}.get(str(kind), str(kind))
