"""An export as columns with every index resolved: the features that a trainer would see of each row, by their names."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import ipc

from etl.contract.manifest import (
    HISTORIES_FILE,
    ITEMS_FILE,
    QUERIES,
    QUERIES_FILE,
    QUERY_ITEMS_FILE,
    Manifest,
    read_manifest,
)
from etl.kernels.codes import Ints

HISTORY = "history"

Entry: TypeAlias = tuple[Any, ...]
"""One action of a history: the item_id, all that its version says of it, the action, its epoch seconds."""

_ROW_COLUMNS = ["request", "query", "item", "user", "history_end", "query_items", "segments", "labels", "cross"]


@dataclass(frozen=True)
class Histories:
    """Of each user u the entries [starts[u], starts[u + 1]), in time order."""

    starts: Ints
    entries: list[Entry]

    def seen(self, user: int, end: int) -> list[Entry]:
        """What came before a row with this ``history_end``: it sees the last of these."""
        return self.entries[self.starts[user] : self.starts[user] + end]


@dataclass(frozen=True)
class Opened:
    """N rows; ``features`` maps each name to N values, float32 for cross features (``cross``), objects for the rest.

    The feature ``history`` is a digest of everything in it, so that long histories compare as one number.
    """

    request: Ints
    item_id: npt.NDArray[np.object_]
    label: npt.NDArray[np.int8]
    """Of the ranking head."""
    cross: tuple[str, ...]
    features: dict[str, npt.NDArray[Any]]
    user: Ints
    history_end: Ints
    histories: Histories

    def __len__(self) -> int:
        return len(self.request)

    def history(self, row: int) -> list[Entry]:
        return self.histories.seen(int(self.user[row]), int(self.history_end[row]))


def tables_of(directory: Path) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table]:
    """The items, queries, histories and query_items of an export: the one place that knows how they are stored."""
    files = (ITEMS_FILE, QUERIES_FILE, HISTORIES_FILE, QUERY_ITEMS_FILE)
    items, queries, *lists = (ipc.open_file(pa.memory_map(str(directory / file))).read_all() for file in files)
    return items, queries, lists[0], lists[1]


def opened(directory: Path) -> Opened:
    """Read an export through its manifest; ManifestError if there is none."""
    manifest = read_manifest(directory)
    shards = [pq.read_table(directory / s.path, columns=_ROW_COLUMNS, partitioning=None) for s in manifest.shards]
    rows = pa.concat_tables(shards)
    items, queries, entries, best = tables_of(directory)
    indices = ("item", "query", "user", "history_end")
    item, query, user, end = (rows[name].to_numpy().astype(np.int64) for name in indices)
    described = _described(items, manifest)
    # An entry stands for a version of its item: everything that the version says belongs to the list.
    versions = list(zip(items["item_id"].to_pylist(), *(values.tolist() for values in described.values()), strict=True))
    histories = Histories(*_entries(entries, versions, manifest))
    features: dict[str, npt.NDArray[Any]] = {f"query.{name}": _objects(queries[name])[query] for name in QUERIES}
    features["query.items"] = _best_items(best, versions)[rows["query_items"].to_numpy()]
    features |= {f"item.{name}": values[item] for name, values in described.items()}
    features |= _segments(rows, manifest)
    features["history.length"] = end
    features[HISTORY] = _digests(histories, user, end)
    cross = _matrix(rows["cross"], len(manifest.cross))
    features |= {name: cross[:, place] for place, name in enumerate(manifest.cross)}
    label = _matrix(rows["labels"], len(manifest.heads))[:, 0]
    item_ids = _objects(items["item_id"])[item]
    return Opened(rows["request"].to_numpy(), item_ids, label, manifest.cross, features, user, end, histories)


def _described(items: pa.Table, manifest: Manifest) -> dict[str, npt.NDArray[Any]]:
    """Per attribute one value per item version, under the attribute's configured name."""
    found: dict[str, npt.NDArray[Any]] = {"text": _objects(items["text"])}
    for column, names in (("categories", manifest.categories), ("numerics", manifest.numerics)):
        flat = _matrix(items[column], len(names))
        found |= {name: flat[:, place] for place, name in enumerate(names)}
    if manifest.dense:
        found["dense"] = np.array([str(vector) for vector in items["dense"].to_pylist()], dtype=object)
    return found


def _segments(rows: pa.Table, manifest: Manifest) -> dict[str, npt.NDArray[Any]]:
    indices = _matrix(rows["segments"], len(manifest.segments))
    return {
        f"segment.{name}": np.array(values, dtype=object)[indices[:, place]]
        for place, (name, values) in enumerate(manifest.segments.items())
    }


def _best_items(lists: pa.Table, versions: list[Entry]) -> npt.NDArray[np.object_]:
    """(lists + 1,) each list with all that its item versions say, as text; under -1 the empty list."""
    texts = [str([versions[item] for item in found]) for found in lists["items"].to_pylist()]
    return np.array([*texts, "[]"], dtype=object)


def _entries(histories: pa.Table, versions: list[Entry], manifest: Manifest) -> tuple[Ints, list[Entry]]:
    lists = histories["items"].combine_chunks()
    starts = np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy())]).astype(np.int64)
    flat = {name: pc.list_flatten(histories[name]).to_pylist() for name in ("items", "actions", "ts")}
    seen = zip(flat["items"], flat["actions"], flat["ts"], strict=True)
    return starts, [(*versions[item], manifest.actions[action], ts) for item, action, ts in seen]


def _digests(histories: Histories, user: Ints, end: Ints) -> npt.NDArray[np.uint64]:
    """(N,) a digest of what came before each row in its user's history."""
    after, starts = np.zeros(len(histories.entries) + 1, dtype=np.uint64), set(histories.starts.tolist())
    state = b""
    for place, entry in enumerate(histories.entries):
        before = b"" if place in starts else state
        state = hashlib.blake2b(before + repr(entry).encode(), digest_size=8).digest()
        after[place + 1] = int.from_bytes(state, "little")
    return np.where(end > 0, after[histories.starts[user] + end], 0).astype(np.uint64)


def _matrix(lists: pa.ChunkedArray, width: int) -> npt.NDArray[Any]:
    """(rows, width) of lists that all have ``width`` entries."""
    flat = pc.list_flatten(lists)
    values = flat.to_numpy() if pa.types.is_primitive(flat.type) else _objects(flat)
    return values.reshape(len(lists), width)


def _objects(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    return np.array(column.to_pylist(), dtype=object)
