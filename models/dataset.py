"""An export as numpy arrays, opened through its manifest. Request-level columns are kept once per request.

Rows and histories are views of files: processes on one host share one copy in the page cache, and memory holds only
what is being read.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from etl.contract.manifest import (
    HISTORIES,
    HISTORIES_FILE,
    ITEMS,
    ITEMS_FILE,
    QUERIES,
    QUERIES_FILE,
    QUERY_ITEMS,
    QUERY_ITEMS_FILE,
    ROWS,
    Manifest,
    read_manifest,
)
from models.arrow_tables import list_views, matrix_view, open_table, vectors
from models.checks import check_range, check_width
from models.errors import ExportError
from models.histories import Histories, QueryItems
from models.split_arrays import split_arrays
from models.split_decoder import read_blocks


@dataclass(frozen=True)
class Rows:
    """One split: R requests, n rows. Rows of request r are starts[r] .. starts[r+1]-1.

    Arrays are maps of files (see models.split_arrays): writing to one changes it in this process only.
    """

    split: str
    starts: npt.NDArray[np.int64]  # (R+1,)
    request: npt.NDArray[np.int64]  # (R,)
    query: npt.NDArray[np.int32]  # (R,)
    user: npt.NDArray[np.int32]  # (R,)
    history_end: npt.NDArray[np.int32]  # (R,)
    query_items: npt.NDArray[np.int32]  # (R,) -1 for none
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
        manifest = self.manifest
        table = open_table(self.directory / ITEMS_FILE, ITEMS, manifest.items)
        kinds = table.column("categories").values.to_pylist()
        width = len(manifest.categories)
        check_width(ITEMS_FILE, "categories", len(kinds), len(table), width)
        return Items(
            item_id=table.column("item_id").to_pylist(),
            text=table.column("text").to_pylist(),
            categories=[kinds[row * width : (row + 1) * width] for row in range(len(table))],
            numerics=matrix_view(ITEMS_FILE, table, "numerics", len(manifest.numerics)),
            dense=vectors(ITEMS_FILE, table, "dense"),
        )

    @cached_property
    def queries(self) -> tuple[list[str], list[str]]:
        """Keys and texts of the queries."""
        table = open_table(self.directory / QUERIES_FILE, QUERIES, self.manifest.queries)
        return table.column("query_key").to_pylist(), table.column("text").to_pylist()

    @cached_property
    def histories(self) -> Histories:
        """Views of the file. That items and actions exist was checked when the export was made."""
        table = open_table(self.directory / HISTORIES_FILE, HISTORIES, self.manifest.users)
        views = {name: list_views(HISTORIES_FILE, table, name) for name in HISTORIES}
        offsets = views["items"][0]
        for name in ("actions", "ts"):
            if not np.array_equal(views[name][0], offsets):
                raise ExportError(f"{HISTORIES_FILE}: lists of 'items' and '{name}' differ in length. Export again.")
        values = {name: flat for name, (_, flat) in views.items()}
        return Histories(offsets=offsets, **values, days=self.manifest.history_days)

    @cached_property
    def query_items(self) -> QueryItems:
        """Views of the file; no lists where the export knows nothing of queries."""
        if not self.manifest.query_items:
            return QueryItems(np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int32))
        table = open_table(self.directory / QUERY_ITEMS_FILE, QUERY_ITEMS, self.manifest.query_items)
        return QueryItems(*list_views(QUERY_ITEMS_FILE, table, "items"))

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
                for batch in read_blocks(self.directory, shard, {"query": ROWS["query"]}):
                    query = batch.column("query").to_numpy()
                    check_range(shard.path, "query", query, self.manifest.queries)
                    counts += np.bincount(query, minlength=len(counts))
        return counts

    def _load_split(self, name: str) -> Rows:
        if not self.has_split(name):
            found = sorted({shard.split for shard in self.manifest.shards if shard.rows})
            raise ExportError(
                f"{self.directory} has no rows in split '{name}' (found: {', '.join(found) or 'no rows at all'}). "
                f"Export a longer range, or set export.validation_days and export.test_days to fit it."
            )
        arrays = split_arrays(self.directory, self.manifest, name, self._history_lengths)
        return Rows(split=name, **arrays)

    def _history_lengths(self) -> npt.NDArray[np.int64]:
        return self.histories.lengths()
