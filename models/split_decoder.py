"""Parquet shards of a split -> one .npy file per column, some rows at a time, checking every promise about rows."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from etl.contract.manifest import ROWS, Manifest, Shard
from models.checks import check_finite, check_range, check_width
from models.errors import ExportError

Array = npt.NDArray[Any]
Columns = dict[str, Array]

#: What all rows of a request share; kept once per request.
_REQUEST_LEVEL = ("query", "user", "history_end", "query_items", "ts", "segments")
_BY_REQUEST = ("request", *_REQUEST_LEVEL)
_KINDS = {
    "request": np.int64,
    "query": np.int32,
    "user": np.int32,
    "history_end": np.int32,
    "query_items": np.int32,
    "ts": np.int64,
    "segments": np.int32,
    "item": np.int32,
    "labels": np.int8,
    "weight": np.float32,
    "cross": np.float32,
    "oracle": np.float64,
}
_ROWS_AT_ONCE = 65_536


def decode_split(
    directory: Path, manifest: Manifest, split: str, history_lengths: npt.NDArray[np.int64], out: Path
) -> None:
    """Write the columns of ``Rows`` to ``out/{column}.npy``; ExportError for rows that break a promise."""
    widths = _widths(manifest)
    files = {name: _GrowingFile(out / f"{name}.npy", kind, widths.get(name)) for name, kind in _KINDS.items()}
    starts = _GrowingFile(out / "starts.npy", np.int64)
    row, last = 0, None
    for shard in manifest.shards:
        if shard.split != split or not shard.rows:
            continue
        for batch in read_blocks(directory, shard, {name: ROWS[name] for name in _stored(manifest)}):
            columns = _checked(shard.path, batch, manifest)
            begins, last = _begins(split, columns, last)
            _check_history(split, columns, history_lengths)
            for name, values in columns.items():
                files[name].append(values[begins] if name in _BY_REQUEST else values)
            starts.append(np.flatnonzero(begins) + row)
            row += len(begins)
    starts.append(np.array([row]))
    for file in (starts, *files.values()):
        file.finish()
    request = np.load(out / "request.npy", mmap_mode="r", allow_pickle=False)
    if len(np.unique(request)) != len(request):
        raise ExportError(f"split '{split}': rows of one request are not next to each other. Export again.")


class _GrowingFile:
    """A .npy file that is appended to: unlike a map of a file, it fails with an error when the disk is full."""

    def __init__(self, path: Path, kind: Any, width: int | None = None):
        self.kind, self.width, self.rows = np.dtype(kind), width, 0
        self.file = path.open("wb")
        self.header = self._write_header()

    def append(self, values: Array) -> None:
        self.rows += len(values)
        self.file.write(np.ascontiguousarray(values, dtype=self.kind).data)

    def finish(self) -> None:
        self.file.seek(0)
        # NumPy pads a header so that the first axis can grow in place.
        if self._write_header() != self.header:
            raise ExportError(f"{self.file.name}: the header has no room for {self.rows} rows. Report this.")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()

    def _write_header(self) -> int:
        shape = (self.rows,) if self.width is None else (self.rows, self.width)
        described = {"descr": np.lib.format.dtype_to_descr(self.kind), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.file, described)
        return self.file.tell()


def read_blocks(directory: Path, shard: Shard, columns: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """The named columns of a shard, some rows at a time; ExportError if it is not what the manifest says."""
    path = directory / shard.path
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in columns if name not in file.schema_arrow.names]
            if missing:
                raise ExportError(f"{path} lacks the column '{missing[0]}'. Export again.")
            if file.metadata.num_rows != shard.rows:
                raise ExportError(
                    f"{path} has {file.metadata.num_rows} rows, its manifest says {shard.rows}. Export again."
                )
            yield from file.iter_batches(_ROWS_AT_ONCE, columns=list(columns))
    except (OSError, pa.ArrowInvalid) as error:
        raise ExportError(f"{path} cannot be read ({error}). Export again.") from error


def _stored(manifest: Manifest) -> list[str]:
    return [name for name in _KINDS if name != "query_items" or manifest.query_items]


def _widths(manifest: Manifest) -> dict[str, int]:
    return {"segments": len(manifest.segments), "labels": len(manifest.heads), "cross": len(manifest.cross)}


def _checked(path: str, batch: pa.RecordBatch, manifest: Manifest) -> Columns:
    columns: Columns = {}
    widths = _widths(manifest)
    for name in _stored(manifest):
        column = batch.column(name)
        if name in widths:
            columns[name] = _matrix(path, column, name, widths[name])
        elif column.null_count and name != "oracle":
            raise ExportError(f"{path}: column '{name}' holds nulls. Export again.")
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    if "query_items" not in columns:
        columns["query_items"] = np.full(len(batch), -1, dtype=np.int32)
    lists = columns["query_items"]
    check_range(path, "query_items", lists[lists != -1], manifest.query_items)
    check_range(path, "query", columns["query"], manifest.queries)
    check_range(path, "item", columns["item"], manifest.items)
    check_range(path, "user", columns["user"], manifest.users)
    check_finite(path, columns["cross"], manifest.cross)
    for index, (segment, values) in enumerate(manifest.segments.items()):
        check_range(path, f"segments.{segment}", columns["segments"][:, index], max(len(values), 1))
    return columns


def _matrix(path: str, column: pa.Array, name: str, width: int) -> Array:
    flat = column.flatten()
    if flat.null_count and name != "cross":
        raise ExportError(f"{path}: column '{name}' holds nulls. Export again.")
    check_width(path, name, len(flat), len(column), width)
    return flat.to_numpy(zero_copy_only=False).reshape(len(column), width)


def _begins(split: str, columns: Columns, last: Columns | None) -> tuple[npt.NDArray[np.bool_], Columns]:
    """Which rows begin a request, and the last row; ``last`` is the one before these, None at the very first."""
    changed = {}
    for name in _BY_REQUEST:
        values = columns[name]
        before = np.concatenate([values[:1] if last is None else last[name], values[:-1]])
        different = values != before
        changed[name] = different.any(axis=1) if different.ndim == 2 else different
    begins = changed.pop("request")
    begins[0] |= last is None
    for name, different in changed.items():
        if (different & ~begins).any():
            raise ExportError(f"split '{split}': '{name}' differs between rows of one request. Export again.")
    return begins, {name: columns[name][-1:].copy() for name in _BY_REQUEST}


def _check_history(split: str, columns: Columns, lengths: npt.NDArray[np.int64]) -> None:
    ends = columns["history_end"]
    if (ends > lengths[columns["user"]]).any() or (ends < 0).any():
        raise ExportError(f"split '{split}': 'history_end' lies outside the user's history. Export again.")
