"""Which versions of which tables a finished directory was made from: an export, a model, or files for serving."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etl.contract.manifest import FILE as MANIFEST
from etl.operations.errors import DamagedReferenceError

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
