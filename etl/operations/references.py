"""Which versions of which tables are referred to: by exports, models and files for serving, and by recent runs."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.manifest import FILE as MANIFEST
from etl.lake import Lake
from etl.operations.audit import runs_table
from etl.operations.errors import DamagedReferenceError
from etl.runs import pinned_inputs

#: Describes a model; its key ``data`` says what it was trained on.
CARD = "model.json"


@dataclass(frozen=True)
class Reference:
    """What one file says it was made from."""

    path: str
    kind: str
    """export, model or serving."""
    versions: dict[str, int]
    """table -> version."""
    start_ds: str = ""
    end_ds: str = ""


def reference_of(directory: Path) -> Reference | None:
    """What the directory itself is; None where it is none of the three."""
    for name in (MANIFEST, CARD):
        if (directory / name).is_file():
            return _read(directory / name)
    return None


def references_below(directory: Path) -> Iterator[Reference]:
    """Those of every export, model and serving folder at or below ``directory``, in the order of their paths.

    Raises DamagedReferenceError for a file that cannot be read: what it refers to is not known.
    """
    for path in sorted(path for name in (MANIFEST, CARD) for path in directory.rglob(name)):
        found = _read(path)
        if found is not None:
            yield found


@dataclass
class Needed:
    """Versions that have to stay readable, and who says so."""

    by_table: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    """Registered models and exports whose folders are not there: what they were made from is not known."""

    def add(self, reference: Reference) -> None:
        for table, version in reference.versions.items():
            who = self.by_table.setdefault(table, {}).setdefault(version, [])
            if (name := f"{reference.kind} {reference.path}") not in who:
                who.append(name)


def needed_versions(lake: Lake, folders: Iterable[Path], since: datetime) -> Needed:
    """What folders, registered models and runs that ended after ``since`` refer to.

    Raises DamagedReferenceError, as references_below does.
    """
    needed = Needed()
    for folder in folders:
        for reference in references_below(folder):
            needed.add(reference)
    for place in _registered(lake):
        found = reference_of(Path(place))
        if found is None:
            needed.missing.append(place)
        else:
            needed.add(found)
    if lake.exists(c.RUNS):
        recent = runs_table(lake).where(F.col("finished_at") >= F.lit(since)).select("job", "inputs").distinct()
        for row in recent.orderBy("job").toLocalIterator():
            # What a run read of other runs is no data.
            versions = {table: version for table, version in pinned_inputs(row.inputs).items() if table != c.RUNS}
            needed.add(Reference(row.job, "run", versions))
    return needed


def _registered(lake: Lake) -> list[str]:
    """Folders of model versions, and of the exports that they were judged on."""
    if not lake.exists(c.MODELS):
        return []
    lake.refresh(c.MODELS)
    rows = lake.read(c.MODELS).select("path", "data").distinct().toLocalIterator()
    return sorted({place for row in rows for place in (row.path, row.data) if place})


def _read(path: Path) -> Reference | None:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        return _reference(path, plain) if isinstance(plain, dict) else None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DamagedReferenceError(str(path), str(error)) from error


def _reference(path: Path, plain: dict[str, Any]) -> Reference | None:
    place = str(path.parent)
    if path.name == CARD:
        data = plain.get("data") or {}
        return Reference(place, "model", _versions(data.get("sources")), *_days(data))
    if "sources" in plain:
        return Reference(place, "export", _versions(plain["sources"]), *_days(plain))
    # Files for serving carry the versions as ``tables``; other programs have manifests too.
    return Reference(place, "serving", _versions(plain["tables"])) if "tables" in plain else None


def _versions(found: Any) -> dict[str, int]:
    return {str(table): int(version) for table, version in (found or {}).items()}


def _days(plain: dict[str, Any]) -> tuple[str, str]:
    return str(plain.get("start_ds") or ""), str(plain.get("end_ds") or "")
