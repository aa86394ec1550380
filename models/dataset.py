"""An export as numpy arrays, opened through its manifest. Request-level columns are kept once per request."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from etl.contract.manifest import HISTORIES, ITEMS, QUERIES, ROWS, Manifest, read_manifest
from models.errors import ExportError
from models.histories import Histories

_REQUEST_LEVEL = ("query", "user", "history_end", "ts", "segments")


@dataclass(frozen=True)
class Rows:
    """One split: R requests, n rows. Rows of request r are starts[r] .. starts[r+1]-1."""

    split: str
    starts: npt.NDArray[np.int64]  # (R+1,)
    request: npt.NDArray[np.int64]  # (R,)
    query: npt.NDArray[np.int32]  # (R,)
    user: npt.NDArray[np.int32]  # (R,)
    history_end: npt.NDArray[np.int32]  # (R,)
    ts: npt.NDArray[np.int64]  # (R,) epoch seconds
    segments: npt.NDArray[np.int32]  # (R, S)
    item: npt.NDArray[np.int32]  # (n,)
    labels: npt.NDArray[np.int8]  # (n, H)
    weight: npt.NDArray[np.float32]  # (n,)
    cross: npt.NDArray[np.float32]  # (n, C)
    oracle: npt.NDArray[np.float64]  # (n,)

    def __len__(self) -> int:
        return len(self.item)

    @property
    def requests(self) -> int:
        return len(self.query)

    def request_of_row(self) -> npt.NDArray[np.int64]:
        """(n,) the request's number in this split."""
        return np.repeat(np.arange(self.requests), np.diff(self.starts))


@dataclass(frozen=True)
class Items:
    item_id: list[str]
    text: list[str]
    categories: list[list[str]]  # N lists of K
    numerics: npt.NDArray[np.float64]  # (N, M)
    dense: npt.NDArray[np.float32]  # (N, E)

    def __len__(self) -> int:
        return len(self.item_id)


class Export:
    """An export directory; tables and splits are read when first asked for."""

    def __init__(self, directory: Path):
        self.directory = Path(directory)
        self.manifest: Manifest = read_manifest(self.directory)
        self._splits: dict[str, Rows] = {}

    @cached_property
    def items(self) -> Items:
        table = self._read("items.parquet", ITEMS, self.manifest.items)
        count, manifest = len(table), self.manifest
        kinds = [value or "" for value in _flat(table, "categories").to_pylist()]
        width = len(manifest.categories)
        _check_width("items.parquet", "categories", len(kinds), count, width)
        return Items(
            item_id=table["item_id"].to_pylist(),
            text=[text or "" for text in table["text"].to_pylist()],
            categories=[kinds[row * width : (row + 1) * width] for row in range(count)],
            numerics=_matrix("items.parquet", table, "numerics", len(manifest.numerics), np.float64),
            dense=_dense(table),
        )

    @cached_property
    def queries(self) -> tuple[list[str], list[str]]:
        """Keys and texts of the queries."""
        table = self._read("queries.parquet", QUERIES, self.manifest.queries)
        return table["query_key"].to_pylist(), [text or "" for text in table["text"].to_pylist()]

    @cached_property
    def histories(self) -> Histories:
        table = self._read("histories.parquet", HISTORIES, self.manifest.users)
        lengths = pc.list_value_length(table["items"]).fill_null(0).to_numpy().astype(np.int64)
        histories = Histories(
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            items=_flat(table, "items").to_numpy().astype(np.int32),
            actions=_flat(table, "actions").to_numpy().astype(np.int8),
            ts=_flat(table, "ts").to_numpy().astype(np.int64),
        )
        for name, values in (("actions", histories.actions), ("ts", histories.ts), ("items", histories.items)):
            _check_width("histories.parquet", name, len(values), int(lengths.sum()), 1)
        _check_range("histories.parquet", "items", histories.items, self.manifest.items)
        _check_range("histories.parquet", "actions", histories.actions, len(self.manifest.actions))
        return histories

    def split(self, name: str) -> Rows:
        """The rows of a split; ExportError if it has none."""
        if name not in self._splits:
            self._splits[name] = self._load_split(name)
        return self._splits[name]

    def has_split(self, name: str) -> bool:
        return any(shard.split == name and shard.rows for shard in self.manifest.shards)

    def query_counts(self, split: str) -> npt.NDArray[np.int64]:
        """Rows of the split by query; reads one column."""
        counts = np.zeros(self.manifest.queries, dtype=np.int64)
        for shard in self.manifest.shards:
            if shard.split == split and shard.rows:
                query = self._read(shard.path, {"query": ROWS["query"]}, shard.rows)["query"].to_numpy()
                _check_range(shard.path, "query", query, self.manifest.queries)
                counts += np.bincount(query, minlength=len(counts))
        return counts

    def _load_split(self, name: str) -> Rows:
        shards = [shard for shard in self.manifest.shards if shard.split == name and shard.rows]
        if not shards:
            found = sorted({shard.split for shard in self.manifest.shards if shard.rows})
            raise ExportError(
                f"{self.directory} has no rows in split '{name}' (found: {', '.join(found) or 'no rows at all'}). "
                f"Export a longer range, or set export.validation_days and export.test_days to fit it."
            )
        parts = [self._columns(shard.path, shard.rows) for shard in shards]
        columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        del parts
        return self._requests(name, columns)

    def _columns(self, path: str, rows: int) -> dict[str, npt.NDArray[Any]]:
        manifest = self.manifest
        wanted = {column: kind for column, kind in ROWS.items() if column not in ("ds", "position")}
        table = self._read(path, wanted, rows)
        columns: dict[str, npt.NDArray[Any]] = {}
        for name, width, kind in (
            ("segments", len(manifest.segments), np.int32),
            ("labels", len(manifest.heads), np.int8),
            ("cross", len(manifest.cross), np.float32),
        ):
            columns[name] = _matrix(path, table, name, width, kind)
        for name in ("request", "ts", "query", "item", "user", "history_end", "weight", "oracle"):
            if table[name].null_count and name != "oracle":
                raise ExportError(f"{path}: column '{name}' holds nulls. Export again.")
            columns[name] = table[name].to_numpy()
        _check_range(path, "query", columns["query"], manifest.queries)
        _check_range(path, "item", columns["item"], manifest.items)
        _check_range(path, "user", columns["user"], manifest.users)
        _check_finite(path, columns["cross"], manifest.cross)
        for index, (segment, values) in enumerate(manifest.segments.items()):
            _check_range(path, f"segments.{segment}", columns["segments"][:, index], max(len(values), 1))
        return columns

    def _requests(self, split: str, columns: dict[str, npt.NDArray[Any]]) -> Rows:
        request = columns["request"]
        begins = np.concatenate([[True], request[1:] != request[:-1]])
        first = np.flatnonzero(begins)
        if len(np.unique(request[first])) != len(first):
            raise ExportError(f"split '{split}': rows of one request are not next to each other. Export again.")
        for name in _REQUEST_LEVEL:
            changed = columns[name][1:] != columns[name][:-1]
            changed = changed.any(axis=1) if changed.ndim == 2 else changed
            if (changed & ~begins[1:]).any():
                raise ExportError(f"split '{split}': '{name}' differs between rows of one request. Export again.")
        level = {name: columns.pop(name)[first] for name in (*_REQUEST_LEVEL, "request")}
        if (level["history_end"] > self.histories.lengths()[level["user"]]).any() or (level["history_end"] < 0).any():
            raise ExportError(f"split '{split}': 'history_end' lies outside the user's history. Export again.")
        return Rows(split=split, starts=np.append(first, len(request)), **level, **columns)

    def _read(self, path: str, columns: dict[str, str], rows: int) -> pa.Table:
        try:
            missing = [name for name in columns if name not in pq.read_schema(self.directory / path).names]
            if missing:
                raise ExportError(f"{self.directory / path} lacks the column '{missing[0]}'. Export again.")
            table = pq.read_table(self.directory / path, columns=list(columns), partitioning=None)
        except (OSError, pa.ArrowInvalid) as error:
            raise ExportError(f"{self.directory / path} cannot be read ({error}). Export again.") from error
        if len(table) != rows:
            raise ExportError(f"{self.directory / path} has {len(table)} rows, its manifest says {rows}. Export again.")
        return table


def _flat(table: pa.Table, name: str) -> pa.ChunkedArray:
    """The elements of a list column, one list after the other."""
    chunks = [chunk.flatten() for chunk in table[name].chunks]
    return pa.chunked_array(chunks, type=table.schema.field(name).type.value_type)


def _matrix(where: str, table: pa.Table, name: str, width: int, kind: Any) -> npt.NDArray[Any]:
    flat = _flat(table, name)
    if flat.null_count and not np.issubdtype(kind, np.floating):
        raise ExportError(f"{where}: column '{name}' holds nulls. Export again.")
    _check_width(where, name, len(flat), len(table), width)
    matrix: npt.NDArray[Any] = flat.to_numpy().astype(kind, copy=False).reshape(len(table), width)
    return matrix


def _dense(table: pa.Table) -> npt.NDArray[np.float32]:
    """(N, E); an item without a vector, as one unknown to the catalogue is, gets zeros."""
    lengths = pc.list_value_length(table["dense"]).fill_null(0).to_numpy()
    width = int(lengths.max(initial=0))
    if not np.isin(lengths, (0, width)).all():
        raise ExportError("items.parquet: 'dense' vectors differ in length between items. Export again.")
    dense = np.zeros((len(table), width), dtype=np.float32)
    dense[lengths == width] = _flat(table, "dense").to_numpy().reshape(-1, width) if width else 0.0
    return dense


def _check_width(where: str, name: str, values: int, rows: int, width: int) -> None:
    if values != rows * width:
        raise ExportError(
            f"{where}: column '{name}' holds {values} values, expected {rows} rows x {width}. Export again."
        )


def _check_range(where: str, name: str, values: npt.NDArray[Any], limit: int) -> None:
    if len(values) and (values.min() < 0 or values.max() >= limit):
        raise ExportError(
            f"{where}: column '{name}' spans {values.min()} to {values.max()}, expected 0 to {limit - 1}. Export again."
        )


def _check_finite(where: str, cross: npt.NDArray[np.float32], names: tuple[str, ...]) -> None:
    for index, name in enumerate(names):
        bad = int(np.count_nonzero(~np.isfinite(cross[:, index])))
        if bad:
            raise ExportError(f"{where}: cross feature '{name}' is NaN or infinite in {bad} rows. Export again.")
