"""Files and directories that appear whole or not at all: written aside, renamed into place.

What is written aside carries the name of its process, so that the next writer of the same target can tell what a killed
one has left behind and take it away.
"""

import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etl.contract.errors import UsageError


@contextmanager
def published_directory(target: Path, marker: str, key: str = "") -> Iterator[Path]:
    """Yield an empty folder that takes ``target``'s place on success; on failure target stays as it was.

    Raises UsageError if ``target`` holds files but not ``marker``, the file that every finished folder of this kind
    has, with ``key`` in its JSON: it is somebody else's and will not be replaced.
    """
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    _restore(target)
    if target.exists() and not _is_ours(target / marker, key) and (not target.is_dir() or any(target.iterdir())):
        kind = f" with '{key}'" if key else ""
        raise UsageError(f"{target} is not replaced: it holds files but no {marker}{kind}. Give another folder")
    aside = _aside(target)
    aside.mkdir()
    try:
        yield aside
        _swap(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def published_file(path: Path) -> Iterator[Path]:
    """Yield the path of a file to write, which takes ``path``'s place on success, on disk to the last byte."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    try:
        yield aside
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file aside and rename it over ``path``."""
    with published_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _is_ours(marker: Path, key: str) -> bool:
    """Other programs have a manifest.json too; one that is damaged may be ours."""
    if not marker.is_file():
        return False
    try:
        known = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:
        return True
    return not (key and isinstance(known, dict)) or key in known


def _aside(target: Path) -> Path:
    """A new name beside ``target``; what dead processes of this host have left under such names is removed."""
    host = re.sub(r"[^\w-]", "", socket.gethostname())
    ours = re.compile(re.escape(f".{target.name}.{host}-") + r"(\d+)-[0-9a-f]{8}\.tmp")
    for path in target.parent.glob(".*.tmp"):
        if (found := ours.fullmatch(path.name)) and not _is_alive(int(found[1])):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return target.with_name(f".{target.name}.{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    # One that nobody has waited for still has its number, and writes nothing more; a container may never wait.
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return state.rpartition(")")[2].split()[0] != "Z"


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
