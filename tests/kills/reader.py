"""A reader of a lake that needs no Spark: Delta's log and Parquet files, as they lie on the disk at that moment."""

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq

from etl.contract import columns as c
from etl.runs import FAILED, OPTIMIZED

#: Columns that differ between runs, or hold the folder that a test works in.
_VARY = {"run_id", "path", "data"}
_BOUND = 2**64
#: Tables of which a run replaces only rows of its own model version.
_BY_VERSION = (c.SCORES, c.ITEM_VECTORS, c.MODELS)


@dataclass(frozen=True)
class Held:
    """Rows, and the sum of their hashes: equal ones hold the same rows in whatever order and files."""

    rows: int = 0
    hashes: int = 0

    def __add__(self, other: "Held") -> "Held":
        return Held(self.rows + other.rows, (self.hashes + other.hashes) % _BOUND)


Contents = Mapping[tuple[str, str], Held]
"""(table, ds) -> what a version holds; a day without rows is not in it."""


def tables_of(lake: Path) -> list[str]:
    return sorted(path.name for path in lake.iterdir() if (path / "_delta_log").is_dir()) if lake.is_dir() else []


def newest_version(table: Path) -> int:
    """-1 before the first commit. Delta gives an entry its name when it is complete."""
    return max((int(path.stem) for path in (table / "_delta_log").glob("*.json") if path.stem.isdigit()), default=-1)


@lru_cache(maxsize=8192)
def _actions(entry: Path) -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(line) for line in entry.read_text(encoding="utf-8").splitlines())


def entry(table: Path, version: int) -> tuple[dict[str, Any], ...]:
    """The actions of one commit."""
    return _actions(table / "_delta_log" / f"{version:020d}.json")


def files_of(table: Path, version: int) -> dict[str, str]:
    """Path -> ds of the files that a version is made of."""
    files: dict[str, str] = {}
    for number in range(version + 1):
        for action in entry(table, number):
            if "add" in action:
                files[unquote(action["add"]["path"])] = action["add"]["partitionValues"].get("ds") or ""
            elif "remove" in action:
                files.pop(unquote(action["remove"]["path"]), None)
    return files


@lru_cache(maxsize=65536)
def _held_by(file: Path) -> Held:
    total = Held()
    for row in pq.read_table(file, partitioning=None).to_pylist():
        total += row_of(row)
    return total


def row_of(row: Mapping[str, Any]) -> Held:
    text = repr(sorted((name, value) for name, value in row.items() if name not in _VARY))
    return Held(1, int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big"))


def read_table(table: Path, version: int) -> dict[str, Held]:
    """ds -> what it holds; FileNotFoundError where a file of the version is missing."""
    held: dict[str, Held] = {}
    for name, ds in files_of(table, version).items():
        held[ds] = held.get(ds, Held()) + _held_by(table / name)
    return {ds: one for ds, one in held.items() if one.rows}


def read_lake(lake: Path) -> dict[tuple[str, str], Held]:
    """All tables but ``runs``, which tells of the time of day."""
    return {
        (name, ds): held
        for name in tables_of(lake)
        if name != c.RUNS
        for ds, held in read_table(lake / name, newest_version(lake / name)).items()
    }


def records(lake: Path) -> list[dict[str, Any]]:
    """The rows of ``runs``."""
    table = lake / c.RUNS
    if not (table / "_delta_log").is_dir():
        return []
    files = files_of(table, newest_version(table))
    return [
        row | {"ds": ds}
        for name, ds in files.items()
        for row in pq.read_table(table / name, partitioning=None).to_pylist()
    ]


def deeds(lake: Path) -> set[tuple[Any, ...]]:
    """What successful jobs have done, less when and in which version."""
    kept = ("job", "table", "ds", "end_ds", "rows_out", "definition_hash", "status")
    return {tuple(record[name] for name in kept) for record in records(lake) if record["status"] != FAILED}


def false_claims(lake: Path) -> list[str]:
    """Records of ``runs`` whose commit is not there, is another run's, or holds another number of rows.

    Of an OPTIMIZE, which writes none, that number is 0.
    """
    wrong = []
    for record in records(lake):
        version, table = record["output_version"], lake / record["table"]
        if version is None:
            continue
        if version > newest_version(table):
            wrong.append(f"{record['table']}@{version} is not there: {record}")
            continue
        [info] = [action["commitInfo"] for action in entry(table, version) if "commitInfo" in action]
        if json.loads(info["userMetadata"])["run_id"] != record["run_id"]:
            wrong.append(f"{record['table']}@{version} is another run's: {record}")
        found = () if record["status"] == OPTIMIZED else read_table(table, version).items()
        rows = sum(held.rows for ds, held in found if record["ds"] <= ds <= record["end_ds"])
        if rows != record["rows_out"] and not (record["table"] in _BY_VERSION and rows > record["rows_out"]):
            wrong.append(f"{record['table']}@{version} holds {rows} rows: {record}")
    return wrong


@dataclass
class Watcher:
    """Reads every version of every table that it meets, in a thread of its own, as long as the block lasts.

    ``problems`` are days that hold neither what they held ``before`` nor what they hold ``after``.
    """

    lake: Path
    before: Contents
    after: Contents
    problems: list[str] = field(default_factory=list)
    versions_read: int = 0

    def __enter__(self) -> "Watcher":
        self._seen: dict[str, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.03):
            self.look()

    def look(self) -> None:
        for name in tables_of(self.lake):
            version = newest_version(self.lake / name)
            if version <= self._seen.get(name, -1):
                continue
            self._seen[name] = version
            try:
                self._compare(name, version, read_table(self.lake / name, version))
            except FileNotFoundError as error:
                # Files of a version that is no longer the newest may go.
                if newest_version(self.lake / name) == version:
                    self.problems.append(f"{name}@{version}: {error}")

    def _compare(self, name: str, version: int, found: Mapping[str, Held]) -> None:
        self.versions_read += 1
        if name == c.RUNS:
            return
        days = {ds for side in (self.before, self.after) for table, ds in side if table == name} | set(found)
        for ds in sorted(days):
            held, key = found.get(ds, Held()), (name, ds)
            if held not in (self.before.get(key, Held()), self.after.get(key, Held())):
                self.problems.append(f"{name}@{version} of {ds} is neither old nor new: {held}")
