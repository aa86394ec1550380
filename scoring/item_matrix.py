"""The item side of a catalogue as one folder that workers map into memory: a host holds one copy, however many read it.

::

    ids.arrow            item_id, sorted: a row's number is its place
    hashes.npy           (N,) int64, Spark's xxhash64 of each item_id: how a pair finds its row
    buckets.npy          (N, 1+K) int32: hash buckets of id and categories, for the lists that query towers read
    vectors-00000.npy    (n, D) float32: the rows of one range; there is more than one where they exceed a budget
    manifest.json        written last
"""

import json
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from pyarrow import ipc

from etl.contract.manifest import other_format
from etl.contract.publish import published_directory
from scoring.errors import ScoringError
from scoring.hash_index import HashIndex

MANIFEST = "manifest.json"
IDS = "ids.arrow"
HASHES = "hashes.npy"
BUCKETS = "buckets.npy"
FORMAT_VERSION = 1

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class MatrixManifest:
    """What ``manifest.json`` says."""

    model_version: str
    as_of: str
    """The day of the catalogue snapshot."""
    digest: str
    """Of the snapshot's items and their features."""
    rows: int
    width: int
    shard_rows: tuple[int, ...]
    source: str = ""
    """The stamp of the table of items that the snapshot was read from (see etl.lake), if it is known."""
    format_version: int = FORMAT_VERSION

    @property
    def stamp(self) -> str:
        """What a job expects to find in the folder."""
        return f"{self.digest}:{len(self.shard_rows)}"


@dataclass(frozen=True)
class ItemMatrix:
    """N items in the order of their ids; shard s holds the rows ``starts[s]`` to ``starts[s + 1]``."""

    ids: pa.StringArray
    hashes: npt.NDArray[np.int64]  # (N,)
    buckets: npt.NDArray[np.int32]  # (N, 1+K)
    shards: tuple[Vectors, ...]
    manifest: MatrixManifest

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def starts(self) -> tuple[int, ...]:
        """First row of each shard, and N."""
        return (0, *np.cumsum(self.manifest.shard_rows).tolist())

    @property
    def vectors(self) -> Vectors:
        """(N, D) of a matrix in one shard; ScoringError where there are more."""
        if len(self.shards) != 1:
            raise ScoringError(
                f"the vectors of model {self.manifest.model_version} lie in {len(self.shards)} shards: read .shards or "
                "raise score.shard_mb and run prerank embed again"
            )
        return self.shards[0]

    @cached_property
    def index(self) -> HashIndex:
        """Built at the first look-up of a process."""
        return HashIndex.build(self.hashes)

    def rows_of_hashes(self, hashes: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Rows (n,) of items given by xxhash64 of their ids, int64 or the same bits as uint64; -1 for unknown items."""
        return self.index.rows_of(hashes.view(np.int64))


@dataclass(frozen=True)
class MatrixPart:
    """Consecutive rows of a matrix to be: ids ascending, over all parts too."""

    ids: pa.StringArray
    hashes: npt.NDArray[np.int64]
    buckets: npt.NDArray[np.int32]
    vectors: Vectors


def open_matrix(folder: Path) -> ItemMatrix:
    """Map a matrix into memory; ScoringError if it is absent, half copied or of another format."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise ScoringError(
            f"no item vectors at {folder}: make them with prerank embed --ds DS --model DIR. On a cluster, "
            "score.vectors_root has to be a folder that every host sees"
        )
    try:
        # The one batch as it lies in the file: a column of the whole table would be put together in memory.
        ids = ipc.open_file(pa.memory_map(str(folder / IDS))).get_batch(0)["item_id"]
        shards = tuple(_mapped(folder / _shard(number)) for number in range(len(manifest.shard_rows)))
        matrix = ItemMatrix(ids, _mapped(folder / HASHES), _mapped(folder / BUCKETS), shards, manifest)
        lengths = {len(matrix.ids), len(matrix.hashes), len(matrix.buckets), sum(map(len, shards)), manifest.rows}
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise ScoringError(f"item vectors at {folder} are damaged ({error}): delete the folder, embed again") from error
    if len(lengths) != 1:
        raise ScoringError(f"item vectors at {folder} are damaged (rows differ): delete the folder, embed again")
    return matrix


@lru_cache(maxsize=2)
def shared_matrix(folder: str, stamp: str) -> ItemMatrix:
    """In a worker: the matrix of ``folder``, mapped once per process; ScoringError if it has another ``stamp``."""
    matrix = open_matrix(Path(folder))
    if matrix.manifest.stamp != stamp:
        raise ScoringError(
            f"the catalogue of {folder} was embedded anew while it was in use: run the same command again"
        )
    return matrix


def as_tensor(vectors: Vectors) -> torch.Tensor:
    """Over memory that is mapped read-only, which torch warns of; nothing here writes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(vectors)


def read_manifest(folder: Path) -> MatrixManifest | None:
    """None where there is no finished matrix of this format; ScoringError for one of a newer format, which stays."""
    path = folder / MANIFEST
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        version = plain["format_version"]
        if version > FORMAT_VERSION:
            raise ScoringError(
                f"{path}: {other_format(version, FORMAT_VERSION)} To keep both, give this one another "
                "score.vectors_root."
            )
        found = MatrixManifest(**plain | {"shard_rows": tuple(plain["shard_rows"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.format_version == FORMAT_VERSION else None


def write_matrix(
    folder: Path, parts: Iterable[MatrixPart], rows: int, width: int, shard_rows: int, stamp: tuple[str, str, str],
    source: str = "",
) -> ItemMatrix:  # fmt: skip
    """Publish a matrix of ``rows`` items with vectors of ``width``, ``shard_rows`` of them in each shard; a matrix that
    stood at ``folder`` is replaced. ``stamp`` is model version, day of the snapshot and digest of its items; ``source``
    as in MatrixManifest.

    Raises ScoringError without any item, or if two ids share a hash: a pair could not tell them apart.
    """
    if not rows:
        raise ScoringError(f"the catalogue of {stamp[1]} holds no item: ingest one with prerank ingest --table items")
    counts = tuple(min(shard_rows, rows - low) for low in range(0, rows, shard_rows))
    with published_directory(folder, MANIFEST, "shard_rows") as aside:
        shards = [_new_array(aside / _shard(number), (count, width)) for number, count in enumerate(counts)]
        kept, low = [], 0
        for part in parts:
            _fill(shards, shard_rows, low, part.vectors)
            low += len(part.ids)
            kept.append((part.ids.cast(pa.string()), part.hashes, part.buckets))
        for shard in shards:
            shard.flush()
        ids = pa.concat_arrays([part[0] for part in kept])
        hashes, buckets = (np.concatenate([part[at] for part in kept]) for at in (1, 2))
        _require_distinct(hashes, ids)
        with ipc.new_file(str(aside / IDS), pa.schema([("item_id", pa.string())])) as writer:
            writer.write_batch(pa.record_batch({"item_id": ids}))
        np.save(aside / HASHES, hashes)
        np.save(aside / BUCKETS, buckets)
        manifest = MatrixManifest(*stamp, rows=len(ids), width=width, shard_rows=counts, source=source)
        (aside / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")
    return open_matrix(folder)


def _new_array(path: Path, shape: tuple[int, int]) -> np.memmap[Any, np.dtype[np.float32]]:
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    # A map of a file with holes dies by a signal where the disk is full: ask for the space while it can still be said.
    with path.open("rb+") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _fill(shards: Sequence[Vectors], shard_rows: int, low: int, vectors: Vectors) -> None:
    """Put rows from ``low`` on where they belong; a part may lie across shards."""
    done = 0
    while done < len(vectors):
        shard, place = divmod(low + done, shard_rows)
        count = min(len(vectors) - done, len(shards[shard]) - place)
        shards[shard][place : place + count] = vectors[done : done + count]
        done += count


def matrix_of(
    ids: Sequence[str], hashes: npt.NDArray[np.int64], vectors: Vectors, buckets: npt.NDArray[np.int32]
) -> ItemMatrix:
    """A matrix in memory, in one shard."""
    manifest = MatrixManifest("", "", "", len(ids), vectors.shape[1], (len(ids),))
    return ItemMatrix(pa.array(ids, pa.string()), hashes, buckets, (vectors,), manifest)


def _require_distinct(hashes: npt.NDArray[np.int64], ids: pa.StringArray) -> None:
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    if len(same):
        one, other = (ids[int(order[same[0] + step])].as_py() for step in (0, 1))
        raise ScoringError(
            f"items '{one}' and '{other}' have the same 64-bit hash: rename one of them in the catalogue"
        )


def _shard(number: int) -> str:
    return f"vectors-{number:05d}.npy"


def _mapped(path: Path) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array
