"""The export's table of contents. Readers open an export through its manifest only, never by listing files.

Layout of an export directory::

    manifest.json           written last
    rows/00000.parquet ...  one row per (request, item), whole requests, in time order; one split per shard
    items.parquet           one row per item version; its row number is the row's `item` and a history's items
    queries.parquet         one row per query_key; its row number is the row's `query`
    histories.parquet       one row per user; its row number is the row's `user`

``rows`` columns (see ROWS): ``cross`` and ``labels`` follow the order of ``Manifest.cross`` and ``Manifest.heads``,
``segments`` holds per configured segment an index into ``Manifest.segments[name]`` (0 is 'not known').
A row sees the first ``history_end`` entries of its user's history: those strictly before its request began.
"""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etl.contract.errors import ManifestError

FILE = "manifest.json"
FORMAT_VERSION = 1

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)

#: Arrow types of the row shards.
ROWS = {
    "ds": "string",
    "ts": "int64",  # epoch seconds: when the request began
    "request": "int64",  # a hash of request_id: groups rows, means nothing else
    "query": "int32",
    "item": "int32",
    "user": "int32",
    "history_end": "int32",
    "position": "int32",  # where the item was shown, -1 unknown; never a feature
    "segments": "list<int32>",
    "labels": "list<int8>",
    "weight": "float32",
    "cross": "list<float32>",
    "oracle": "float64",  # the simulator's true engagement probability, NaN when not known; never a feature
}
#: categories follow Manifest.categories ('' unknown), numerics follow Manifest.numerics (NaN unknown).
ITEMS = {
    "item_id": "string",
    "text": "string",
    "categories": "list<string>",
    "numerics": "list<float64>",
    "dense": "list<float32>",  # the configured dense vectors, one after the other
}
QUERIES = {"query_key": "string", "text": "string"}
#: Entries in time order; actions index Manifest.actions, ts are epoch seconds.
HISTORIES = {"items": "list<int32>", "actions": "list<int8>", "ts": "list<int64>"}


@dataclass(frozen=True)
class Head:
    """One label: did any of ``actions`` follow the impression, and none of ``veto``? The first head ranks."""

    name: str
    actions: tuple[str, ...]
    weight: float
    veto: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelDefinition:
    """What decides which rows there are and what they weigh, beside the heads: as in the section ``export``."""

    label_window_days: int = 0
    row_weights: tuple[tuple[str, float], ...] = ()
    """(action, weight), in the order in which they are tried."""
    impression_sampling_rate: float = 1.0
    sampling_seed: int = 0
    negatives: str = "impressions"
    negatives_per_request: int = 0
    negative_weight: float = 1.0


@dataclass(frozen=True)
class Shard:
    """One Parquet file of rows, relative to the export directory."""

    path: str
    split: str
    rows: int


@dataclass(frozen=True)
class Manifest:
    start_ds: str
    end_ds: str
    lag_days: int
    history_length: int
    heads: tuple[Head, ...]
    actions: tuple[str, ...]
    segments: dict[str, tuple[str, ...]]
    cross: tuple[str, ...]
    categories: tuple[str, ...]
    numerics: tuple[str, ...]
    dense: tuple[str, ...]
    shards: tuple[Shard, ...]
    items: int
    queries: int
    users: int
    positives: dict[str, int]
    sources: dict[str, int]
    """Delta version of every table that was read."""
    config_hash: str
    has_oracle: bool
    coverage_by_ds: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    """Per ds: rows and the share of them with interaction history."""
    label_definition: LabelDefinition = LabelDefinition()
    format_version: int = FORMAT_VERSION

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)

    def write(self, directory: Path) -> None:
        """The last step of writing an export."""
        text = json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False)
        (directory / FILE).write_text(text + "\n", encoding="utf-8")


def read_manifest(directory: Path) -> Manifest:
    """Open an export; ManifestError if there is none, it is unfinished, or another version wrote it."""
    path = directory / FILE
    if not path.is_file():
        raise ManifestError(
            f"no finished export at {directory}: {FILE} is missing. "
            f"Make one with: prerank export --start-ds A --end-ds B --out {directory}"
        )
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        version = plain["format_version"]
        if version != FORMAT_VERSION:
            raise ManifestError(f"{path}: format {version}, this program reads {FORMAT_VERSION}. Export again.")
        return _from_plain(plain)
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{path} is damaged ({error}): export again") from error


def _from_plain(plain: dict[str, Any]) -> Manifest:
    heads = tuple(_head(**head) for head in plain.pop("heads"))
    shards = tuple(Shard(**shard) for shard in plain.pop("shards"))
    segments = {name: tuple(values) for name, values in plain.pop("segments").items()}
    lists = {key: tuple(plain.pop(key)) for key in ("actions", "cross", "categories", "numerics", "dense")}
    labels = _label_definition(**plain.pop("label_definition", {}))
    fields: dict[str, Any] = {"heads": heads, "shards": shards, "segments": segments, **lists, **plain}
    return Manifest(label_definition=labels, **fields)


def _head(name: str, actions: list[str], weight: float, veto: Iterable[str] = ()) -> Head:
    return Head(name, tuple(actions), weight, tuple(veto))


def _label_definition(row_weights: Iterable[tuple[str, float]] = (), **plain: Any) -> LabelDefinition:
    return LabelDefinition(row_weights=tuple((action, weight) for action, weight in row_weights), **plain)
