"""What the folders beside the lake hold: equal fingerprints mean the same rows, weights and texts."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tests.kills.reader import Held, row_of

#: Measured times, the time of day, and a hash of settings of which executors are some.
_VARY = {"seconds", "rows_per_second", "wait_share", "cost", "created_at", "megabytes", "config_hash"}
#: Spark names files anew in every run, and Delta's tables are compared as tables.
_PART = re.compile(r"part-\d+.*\.parquet")
_SKIPPED = ("lake", "log", "spark-warehouse")


def fingerprints(folder: Path, origin: Path) -> dict[str, object]:
    """File, or folder of Spark's Parquet -> what it holds; without the lake.

    Paths below ``folder``, and below ``origin``, which it was copied from, count as the same.
    """
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or name.parts[0] in _SKIPPED or path.name == "_SUCCESS" or path.suffix == ".crc":
            continue
        if _PART.fullmatch(path.name):
            key = f"{name.parent}/*.parquet"
            held = found.get(key, Held())
            assert isinstance(held, Held)
            found[key] = held + _rows_of(path)
        else:
            found[str(name)] = _rows_of(path) if path.suffix == ".parquet" else _digest(path, (folder, origin))
    return found


def left_over(folder: Path) -> list[str]:
    """What was written aside and never got its place."""
    return [str(path) for path in folder.rglob(".*") if path.suffix in (".tmp", ".old") and "lake" not in path.parts]


def _rows_of(path: Path) -> Held:
    return sum(map(row_of, pq.read_table(path, partitioning=None).to_pylist()), Held())


def _digest(path: Path, folders: Iterable[Path]) -> str:
    content = path.read_bytes()
    if path.suffix == ".json":
        content = json.dumps(_steady(json.loads(content)), sort_keys=True).encode()
    elif path.suffix == ".npz":
        content = _arrays(path)
    for folder in folders:
        content = content.replace(str(folder).encode(), b"")
    return hashlib.sha256(content).hexdigest()


def _arrays(path: Path) -> bytes:
    """Those of an ablation's rung, of whose ``figures`` the last are seconds; the file itself holds the time of day."""
    with np.load(path, allow_pickle=False) as arrays:
        steady = {name: arrays[name] if name != "figures" else arrays[name][:-1] for name in sorted(arrays.files)}
    return b"".join(name.encode() + array.tobytes() for name, array in steady.items())


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(item) for key, item in value.items() if key not in _VARY}
    return list(map(_steady, value)) if isinstance(value, list) else value
