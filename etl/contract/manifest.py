"""The export's table of contents. Readers open an export through its manifest only, never by listing files.

Layout of an export directory::

    manifest.json           written last
    rows/00000.parquet ...  one row per (request, item), whole requests, in time order; one split per shard
    items.arrow             one row per item version; its row number is the row's `item` and a history's items
    queries.arrow           one row per query_key; its row number is the row's `query`
    histories.arrow         one row per user; its row number is the row's `user`
    query_items.arrow       one row per query and day; its row number is the row's `query_items`
    arrays/train/ ...       not part of the export: the shards of a split as arrays, which a reader made for itself

Where ``Manifest.query_items`` is 0 nothing is known of queries: then no reader looks at the last file or its column.

The Arrow files are uncompressed IPC files of one record batch without nulls: mapped into memory, every column is an
array (a list column two: offsets and values) that takes no memory of its own.

``rows`` columns (see ROWS): ``cross`` and ``labels`` follow the order of ``Manifest.cross`` and ``Manifest.heads``,
``segments`` holds per configured segment an index into ``Manifest.segments[name]`` (0 is 'not known').

A row of day D sees the last ``Manifest.history_length`` of the first ``history_end`` entries of its user's history,
which are those strictly before its request began, and of these only the ones of D - ``Manifest.history_days`` or later:
readers leave out what is older, so that a row has one history in whatever range it is exported. The age of an entry is
the row's ``ts`` minus the entry's, so a row's sequence of (item, action, age) takes three numbers in its row.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from etl.contract.errors import ManifestError
from etl.contract.statistics import FeatureStatistics

FILE = "manifest.json"
#: The key by which an export's manifest is told from those of other programs.
SHARDS = "shards"
ITEMS_FILE, QUERIES_FILE, HISTORIES_FILE = "items.arrow", "queries.arrow", "histories.arrow"
QUERY_ITEMS_FILE = "query_items.arrow"
FORMAT_VERSION = 4

#: Items in the list of a query, at most.
QUERY_ITEMS_LENGTH = 20

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
    "query_items": "int32",  # -1: the query had no engagement yet
    "position": "int32",  # where the item was shown, -1 unknown; never a feature
    "segments": "list<int32>",
    "labels": "list<int8>",
    "weight": "float32",
    "cross": "list<float32>",
    "oracle": "float64",  # the simulator's true engagement probability, NaN when not known; never a feature
}
#: categories follow Manifest.categories ('' unknown), numerics follow Manifest.numerics (NaN unknown).
ITEMS = {
    "item_id": "large_string",
    "text": "large_string",
    "categories": "large_list<large_string>",
    "numerics": "large_list<float64>",
    "dense": "large_list<float32>",  # the configured dense vectors, one after the other; empty without one
}
QUERIES = {"query_key": "large_string", "text": "large_string"}
#: Entries in time order; actions index Manifest.actions, ts are epoch seconds. Offsets have 64 bits: all users' entries
#: may be more than 2^31.
HISTORIES = {"items": "large_list<int32>", "actions": "large_list<int8>", "ts": "large_list<int64>"}
#: The items that a query did best with as of the day that its row sees, best first.
QUERY_ITEMS = {"items": "large_list<int32>"}
SCHEMA = {"rows": ROWS, "items": ITEMS, "queries": QUERIES, "histories": HISTORIES, "query_items": QUERY_ITEMS}


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
    history_days: int | None
    """None: histories reach back without end."""
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
    splits: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    """First and last ds of each split."""
    statistics: dict[str, FeatureStatistics] = dataclasses.field(default_factory=dict)
    """Of the training split: every cross feature by its name, every item numeric as ``items.<name>``."""
    baseline: str = ""
    """The digest of the export that ``drift`` compares with; empty without one."""
    drift: dict[str, float] = dataclasses.field(default_factory=dict)
    """PSI of every feature that the baseline knows too."""
    label_definition: LabelDefinition = LabelDefinition()
    query_items: int = 0
    """Lists of queries' best items."""
    schema: dict[str, dict[str, str]] = dataclasses.field(default_factory=lambda: SCHEMA)
    """Columns and their Arrow types, by part."""
    format_version: int = FORMAT_VERSION

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)

    def write(self, directory: Path) -> None:
        """The last step of writing an export."""
        (directory / FILE).write_text(self._text(), encoding="utf-8")

    def digest(self) -> str:
        """The SHA-256 of the manifest's file: exports with the same digest hold the same data."""
        return hashlib.sha256(self._text().encode()).hexdigest()

    def _text(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"


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
            raise ManifestError(f"{path}: {other_format(version, FORMAT_VERSION)} Export again.")
        return _from_plain(plain)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"{path} is damaged ({error}): export again") from error


def other_format(found: object, read: int) -> str:
    """What to say of a file of another format: whether its writer was newer, and what then helps."""
    advice = " A newer version of prerank wrote it: run that one, or make it anew with this one."
    return f"format {found}, this program reads {read}." + (advice if isinstance(found, int) and found > read else "")


def _from_plain(plain: dict[str, Any]) -> Manifest:
    heads = tuple(_head(**head) for head in plain.pop("heads"))
    shards = tuple(_shard(**shard) for shard in plain.pop("shards"))
    segments = {name: tuple(values) for name, values in plain.pop("segments").items()}
    lists = {key: tuple(plain.pop(key)) for key in ("actions", "cross", "categories", "numerics", "dense")}
    splits = {name: (first, last) for name, (first, last) in plain.pop("splits").items()}
    statistics = {name: FeatureStatistics.from_plain(figures) for name, figures in plain.pop("statistics").items()}
    labels = _label_definition(**plain.pop("label_definition"))
    made: dict[str, Any] = {"heads": heads, "shards": shards, "segments": segments, "splits": splits, **lists}
    return Manifest(**made, statistics=statistics, label_definition=labels, **plain)


def _shard(path: str, split: str, rows: int) -> Shard:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(f"shard {path!r} lies outside the export")
    return Shard(path, split, rows)


def _head(name: str, actions: list[str], weight: float, veto: list[str]) -> Head:
    return Head(name, tuple(actions), weight, tuple(veto))


def _label_definition(row_weights: list[tuple[str, float]], **plain: Any) -> LabelDefinition:
    return LabelDefinition(row_weights=tuple((action, weight) for action, weight in row_weights), **plain)
