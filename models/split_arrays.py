"""A split's rows as arrays on disk, which any number of processes map into memory and share.

Training gathers random requests, for which Parquet is no use: the shards of a split are decoded once, into one ``.npy``
file per column inside the export (``arrays/{split}``), or below the temporary folder where the export cannot be written
to. All promises about rows are checked then, and not again. The arrays name the manifest and the shards that they were
made from; arrays of anything else, or with a file that is cut off, are made anew.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from etl.contract.manifest import Manifest
from models.errors import ExportError
from models.split_decoder import decode_split

Array = npt.NDArray[Any]

FOLDER = "arrays"
_INDEX = "index.json"
_FORMAT = 2


def split_arrays(
    directory: Path, manifest: Manifest, split: str, history_lengths: Callable[[], npt.NDArray[np.int64]]
) -> dict[str, Array]:
    """The columns of ``Rows`` by name, decoding the split first if nobody has.

    The arrays may be written to: a change stays in this process. Of several processes that ask at once, one decodes
    and the others wait for it. ``history_lengths`` gives the entries of every user (U,). Raises ExportError for rows
    that break a promise.
    """
    source = _source(directory, manifest, split)
    homes = (_Home(directory / FOLDER), _Home(_temporary(source), private=True))
    for home in homes:
        if home.is_trusted() and (found := _opened(home.path / split, source)) is not None:
            return found
    for home in homes:
        with _lock(home, split) as locked:
            found = _opened(home.path / split, source) if locked else None
            if locked and found is None:
                with _published(home.path / split, source) as aside:
                    decode_split(directory, manifest, split, history_lengths(), aside)
                found = _opened(home.path / split, source)
        if found is not None:
            return found
    raise ExportError(
        f"split '{split}' of {directory} cannot be decoded: neither {homes[0].path} nor {homes[1].path} can be "
        "written. Make one of them writable, or point TMPDIR at a folder that is."
    )


@dataclass(frozen=True)
class _Home:
    """A folder for the arrays of splits; a ``private`` one lies where anybody may have made it."""

    path: Path
    private: bool = False

    def is_trusted(self) -> bool:
        return not self.private or (self.path.is_dir() and self.path.stat().st_uid == os.getuid())


def _source(directory: Path, manifest: Manifest, split: str) -> str:
    """Names what the arrays are made from: a shard that changed under the same manifest makes another name."""
    try:
        shards = [(directory / shard.path).stat() for shard in manifest.shards if shard.split == split and shard.rows]
    except OSError as error:
        raise ExportError(f"a shard of split '{split}' cannot be read ({error}). Export again.") from error
    state = [_FORMAT, manifest.digest(), split, [(shard.st_size, shard.st_mtime_ns) for shard in shards]]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def _temporary(source: str) -> Path:
    return Path(tempfile.gettempdir()) / f"prerank-{os.getuid()}-{source[:16]}"


def _opened(folder: Path, source: str) -> dict[str, Array] | None:
    """The arrays of a finished folder; None if there is none, it has another source, or a file is not as written."""
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        if index["source"] != source:
            return None
        if any((folder / f"{name}.npy").stat().st_size != size for name, size in index["bytes"].items()):
            return None
        return {name: _mapped(folder / f"{name}.npy") for name in index["bytes"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mapped(path: Path) -> Array:
    # As plain arrays: those of type memmap take long over each row that is asked for.
    try:
        return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))
    except OSError:
        # The kernel may refuse a writable map of a file larger than memory and swap, though nothing is ever written.
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


@contextmanager
def _lock(home: _Home, split: str) -> Iterator[bool]:
    """Hold the right to write ``home/split``, waiting for whoever has it; False where nothing can be written."""
    with ExitStack() as stack:
        try:
            home.path.mkdir(exist_ok=True, mode=0o700 if home.private else 0o777)
            file = stack.enter_context((home.path / f".{split}.lock").open("ab")) if home.is_trusted() else None
            if file is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            file = None
        yield file is not None


@contextmanager
def _published(folder: Path, source: str) -> Iterator[Path]:
    """Yield a folder that takes the place of ``folder`` on success; what a killed process left aside goes."""
    for left in folder.parent.glob(f".{folder.name}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        aside.mkdir()
        yield aside
        sizes = {path.stem: path.stat().st_size for path in sorted(aside.glob("*.npy"))}
        (aside / _INDEX).write_text(json.dumps({"source": source, "bytes": sizes}), encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    except OSError as error:
        raise ExportError(
            f"{folder} cannot be written ({error}). Free some space: the arrays of a split take about 4 bytes per row "
            "and cross feature."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
