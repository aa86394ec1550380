"""Paths that have to be local: what is mapped into memory, and what is renamed into place as a whole."""

import re
from pathlib import Path

from etl.contract.errors import UsageError


def is_uri(path: str) -> bool:
    """Whether a path names its file system, as ``s3a://bucket/lake`` and ``file:/lake`` do."""
    return re.match(r"[A-Za-z][\w+.-]*:", path) is not None


def local_part(uri: str) -> str:
    """``/lake`` for ``file:/lake`` and ``file:///lake``; a path or URI of any other kind as it is."""
    return re.sub(r"^file:/*(?=/)", "", uri)


def file_uri(path: Path) -> str:
    """A local path for Spark, which takes URIs as they are written: unlike ``Path.as_uri``, nothing is escaped."""
    return f"file://{path.absolute()}"


def local_path(text: str) -> Path:
    """A file or folder of this machine, from the command line. Raises UsageError for a URI."""
    if is_uri(text):
        raise UsageError(_refusal(text))
    return Path(text)


def require_local(name: str, *paths: str) -> None:
    """Raises ValueError if a setting that has to be a local folder holds a URI."""
    for path in paths:
        if is_uri(path):
            raise ValueError(f"{name}: {_refusal(path)}")


def _refusal(path: str) -> str:
    return (
        f"'{path}' is a URI, expected a path on this machine (a mounted folder will do). Only lake.root, ingest "
        "--input, simulate --out and export --truth may name another file system"
    )
