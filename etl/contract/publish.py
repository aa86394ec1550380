"""Directories that appear whole or not at all: written aside, renamed into place."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def published_directory(target: Path) -> Iterator[Path]:
    """Yield an empty folder that takes ``target``'s place on success; on failure target stays as it was."""
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
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
