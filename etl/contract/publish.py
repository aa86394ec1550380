"""Directories that appear whole or not at all: written aside, renamed into place."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etl.contract.errors import UsageError


@contextmanager
def published_directory(target: Path, marker: str) -> Iterator[Path]:
    """Yield an empty folder that takes ``target``'s place on success; on failure target stays as it was.

    Raises UsageError if ``target`` holds files but not ``marker``, the file that every finished folder of this kind
    has: it is somebody else's and will not be replaced.
    """
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    _restore(target)
    if target.exists() and not (target / marker).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is not replaced: it holds files but no {marker}. Give another --out")
    aside = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    aside.mkdir()
    try:
        yield aside
        _swap(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file aside and rename it over ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _restore(target: Path) -> None:
    """Finish or undo a swap that was killed half-way: the old folder comes back if nothing took its place."""
    for old in target.parent.glob(f".{target.name}.*.old"):
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(old, target)


def _swap(aside: Path, target: Path) -> None:
    # A directory cannot be renamed over a full one: the old one steps aside first, and back if the rename fails.
    old = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.old"
    had_old = target.exists()
    if had_old:
        os.rename(target, old)
    try:
        os.rename(aside, target)
    except OSError:
        if had_old:
            os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)
