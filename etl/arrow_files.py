"""Parquet parts -> one Arrow IPC file that a reader maps into memory: uncompressed, one record batch, no nulls.

One batch is what makes a column one array. It need not fit into memory here: each buffer of each column grows in a file
of its own, and the batch that is written at last is a view of these files.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

_ROWS_AT_ONCE = 65_536


def write_arrow(parts: Iterable[Path], columns: Mapping[str, str], path: Path, scratch: Path) -> int:
    """Write the rows of Parquet ``parts``, in order, to ``path``; returns their number.

    ``columns`` names what to keep and its type, as ``SCHEMA`` of etl.contract.manifest spells it. A missing text or
    list becomes an empty one, a missing float NaN; any other missing value is an error. ``scratch`` is an empty folder
    beside ``path``, and is left as found.
    """
    growing = {name: _growing(arrow_type(kind), scratch / name) for name, kind in columns.items()}
    rows = 0
    for part in parts:
        for batch in pq.ParquetFile(part).iter_batches(_ROWS_AT_ONCE, columns=list(columns)):
            rows += len(batch)
            for name, column in growing.items():
                column.append(batch.column(name))
    batch = pa.RecordBatch.from_arrays([column.finish() for column in growing.values()], list(columns))
    with ipc.new_file(str(path), batch.schema) as writer:
        writer.write_batch(batch)
    for file in scratch.iterdir():
        file.unlink()
    return rows


def write_columns(columns: Mapping[str, Any], kinds: Mapping[str, str], path: Path) -> int:
    """Write columns that lie in memory as such a file; returns the number of rows. ``kinds`` as in ``write_arrow``."""
    arrays = [_array(columns[name], arrow_type(kind)) for name, kind in kinds.items()]
    batch = pa.RecordBatch.from_arrays(arrays, list(kinds))
    with ipc.new_file(str(path), batch.schema) as writer:
        writer.write_batch(batch)
    return len(batch)


def open_arrow(path: Path) -> pa.RecordBatch:
    """The columns of a file of ``write_arrow`` as views of the file."""
    return ipc.open_file(pa.memory_map(str(path))).get_batch(0)


def arrow_type(kind: str) -> pa.DataType:
    """``'large_list<float64>'`` and its like as Arrow types."""
    head, _, inner = kind.partition("<")
    if not inner:
        return pa.type_for_alias(kind)
    return {"large_list": pa.large_list, "list": pa.list_}[head](arrow_type(inner.removesuffix(">")))


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, kind)


class _Growing(ABC):
    """A column whose buffers lie in files; ``finish`` maps them."""

    def __init__(self, kind: pa.DataType):
        self.kind, self.rows = kind, 0

    @abstractmethod
    def append(self, array: pa.Array) -> None: ...

    @abstractmethod
    def finish(self) -> pa.Array: ...


class _Buffer:
    def __init__(self, path: Path):
        self._path = path
        self._file = path.open("wb")

    def append(self, data: Any) -> None:
        self._file.write(data)

    def finish(self) -> pa.Buffer:
        self._file.close()
        # An empty file cannot be mapped.
        return pa.memory_map(str(self._path)).read_buffer() if self._path.stat().st_size else pa.py_buffer(b"")


class _Numbers(_Growing):
    def __init__(self, kind: pa.DataType, path: Path):
        super().__init__(kind)
        self._values = _Buffer(path)

    def append(self, array: pa.Array) -> None:
        if array.null_count:
            array = array.fill_null(float("nan"))
        self.rows += len(array)
        self._values.append(np.ascontiguousarray(array.cast(self.kind).to_numpy()))

    def finish(self) -> pa.Array:
        return pa.Array.from_buffers(self.kind, self.rows, [None, self._values.finish()])


class _Offsets(_Buffer):
    """(rows + 1,) where each row ends, all in 64 bits."""

    def __init__(self, path: Path):
        super().__init__(path)
        self._end = 0
        super().append(np.zeros(1, dtype=np.int64))

    def append(self, data: npt.NDArray[np.int64]) -> None:
        """Add rows by the offsets (rows + 1,) that they have in an array of their own."""
        super().append(data[1:] - data[0] + self._end)
        self._end += int(data[-1] - data[0])


class _Texts(_Growing):
    def __init__(self, kind: pa.DataType, path: Path):
        super().__init__(kind)
        self._offsets, self._data = _Offsets(path.with_name(f"{path.name}.offsets")), _Buffer(path)

    def append(self, array: pa.Array) -> None:
        if not len(array):
            return
        array = array.fill_null("").cast(self.kind)
        _, offsets, data = array.buffers()
        ends = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
        self.rows += len(array)
        self._offsets.append(ends)
        if ends[-1] > ends[0]:
            self._data.append(data[int(ends[0]) : int(ends[-1])])

    def finish(self) -> pa.Array:
        return pa.LargeStringArray.from_buffers(self.rows, self._offsets.finish(), self._data.finish())


class _Lists(_Growing):
    def __init__(self, kind: pa.DataType, path: Path):
        super().__init__(kind)
        self._offsets = _Offsets(path.with_name(f"{path.name}.offsets"))
        self._values = _growing(kind.value_type, path.with_name(f"{path.name}.values"))

    def append(self, array: pa.Array) -> None:
        lengths = array.value_lengths().fill_null(0).to_numpy().astype(np.int64)
        self.rows += len(array)
        self._offsets.append(np.concatenate([[0], np.cumsum(lengths)]))
        self._values.append(array.flatten())

    def finish(self) -> pa.Array:
        offsets = self._offsets.finish()
        return pa.Array.from_buffers(self.kind, self.rows, [None, offsets], children=[self._values.finish()])


def _growing(kind: pa.DataType, path: Path) -> _Growing:
    if pa.types.is_large_list(kind):
        return _Lists(kind, path)
    return _Texts(kind, path) if pa.types.is_large_string(kind) else _Numbers(kind, path)
