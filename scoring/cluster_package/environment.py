"""A Python environment for ``--archives``: a folder that runs wherever it is unpacked.

``bin/python`` starts the host's own Python, of the version that the packages in ``lib`` are made for, with these in
front. Spark's are not among them: they come with the cluster's jars.
"""

import gzip
import shlex
import sys
import tarfile
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution
from io import BytesIO
from pathlib import Path

from scoring.cluster_package.distributions import files_of
from scoring.cluster_package.wheel import mode_of

NAME = "environment"
ARCHIVE = f"{NAME}.tar.gz"

# Libraries are large and barely worth more of a processor's time.
_LEVEL = 1
_LAUNCHER = """\
#!/bin/sh
# Starts this host's Python with the packages of ../lib.
root=$(cd "$(dirname "$0")/.." && pwd)
python={python}
if ! command -v "$python" >/dev/null; then
  echo "prerank: $(hostname) has no $python; install it, or name another: prerank package --python" >&2
  exit 127
fi
PYTHONPATH="$root/lib${{PYTHONPATH:+:$PYTHONPATH}}"
export PYTHONPATH
exec "$python" "$@"
"""


def host_python() -> str:
    """The command of the running Python's version: compiled packages serve no other."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def write_environment(path: Path, own: Mapping[str, bytes], others: Iterable[Distribution], python: str) -> int:
    """Write the archive from the program's files and other distributions; returns its bytes unpacked.

    The same files make the same archive. Raises PackageError as files_of does.
    """
    size = 0
    # Neither the archive nor its compression may carry the time.
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        size += _add_bytes(archive, "bin/python", _LAUNCHER.format(python=shlex.quote(python)).encode(), 0o755)
        for name, content in own.items():
            size += _add_bytes(archive, f"lib/{name}", content, mode_of(name))
        for other in others:
            for name, file in files_of(other):
                size += _add_file(archive, f"lib/{name}", file)
    return size


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> int:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, BytesIO(content))
    return entry.size


def _add_file(archive: tarfile.TarFile, name: str, file: Path) -> int:
    entry = tarfile.TarInfo(name)
    status = file.stat()
    entry.size, entry.mode = status.st_size, status.st_mode & 0o755
    with file.open("rb") as content:
        archive.addfile(entry, content)
    return entry.size
