"""Parts of a day, scored one after the other and kept aside until the day is whole, so that a killed run goes on.

A part is a Parquet folder at ``{lake.root}/_scoring/{ds}/{model version}/{inputs}/chunk=K/{run}``; Spark's own
``_SUCCESS`` in it says that it is finished. Each run writes folders of its own: two in one folder would remove each
other's files. Parts of other inputs (table versions, catalogue, configuration) are not taken. What a killed run left
unfinished stays until ``maintain`` or ``forget`` (etl.scored_parts).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.contract.paths import local_part
from etl.contract.settings import digest
from etl.lake import Lake, hadoop_path
from etl.scored_parts import parts_folder
from etl.sources.listing import JVM_ERRORS
from etl.spark_errors import said_by, unreadable_file
from scoring.errors import LostPartError

_DONE = "_SUCCESS"
#: Tables whose versions say nothing of a score: what runs record, and what the item vectors' own digest stands for.
_NO_INPUTS = ("runs", "models", "scores", "item_vectors")


def of_chunk(requests: DataFrame, chunk: int, chunks: int) -> DataFrame:
    """The requests of one part: by a hash of their id, the same in every run."""
    return requests.where(F.pmod(F.xxhash64("request_id"), F.lit(chunks)) == chunk)


@contextmanager
def scored_in_chunks(
    lake: Lake, ds: str, version: str, identity: Any, run_id: str, requests: DataFrame, chunks: int,
    score: Callable[[DataFrame], DataFrame],
) -> Iterator[tuple[DataFrame, int]]:  # fmt: skip
    """Within: the scores of all parts, each through ``score`` unless it is there, and how many were there.

    ``identity`` is all that scores depend on beside the pinned versions of tables, as plain values; a row of
    ``requests`` becomes one of ``score``. Afterwards the parts are removed. Raises LostPartError where one turns out to
    be damaged or incomplete, which is removed then.
    """
    inputs = {name: pinned for name, pinned in lake.pinned.items() if name not in _NO_INPUTS}
    root = f"{folder_of(lake, ds, version)}/{digest([identity, sorted(inputs.items()), chunks])}"
    held: dict[int, str] = {}
    scored = set()
    # Again for parts that another run of the same, done before, has taken away with its own.
    while missing := [chunk for chunk in range(chunks) if chunk not in held or not _exists(lake, held[chunk])]:
        for chunk in missing:
            place = f"{root}/chunk={chunk}"
            finished = _finished(lake, place)
            if finished is None:
                score(of_chunk(requests, chunk, chunks)).write.mode("overwrite").parquet(f"{place}/{run_id}")
                scored.add(chunk)
            held[chunk] = finished or f"{place}/{run_id}"
    paths = list(held.values())
    with _all_readable(lake, paths):
        whole = lake.spark.read.parquet(*paths)
        _require_all(lake, root, paths, whole.count(), requests.count())
        yield whole, chunks - len(scored)
    _remove(lake, paths)
    _remove_empty(lake, [root, folder_of(lake, ds, version), f"{parts_folder(lake)}/{ds}"])


def folder_of(lake: Lake, ds: str, version: str) -> str:
    return f"{parts_folder(lake)}/{ds}/{version}"


def _finished(lake: Lake, place: str) -> str | None:
    """The first by name of a chunk's folders that is finished: whoever wrote it, its rows are the same."""
    path, files = hadoop_path(lake.spark, place)
    names = sorted(str(one.getPath().getName()) for one in files.listStatus(path)) if files.exists(path) else []
    return next((f"{place}/{name}" for name in names if _exists(lake, f"{place}/{name}/{_DONE}")), None)


def _require_all(lake: Lake, root: str, paths: Sequence[str], held: int, asked: int) -> None:
    """``_SUCCESS`` says nothing of files that somebody removed while it was written, or since."""
    if held != asked:
        _remove(lake, paths)
        raise LostPartError(root, f"hold {held} of the day's {asked} requests: another job has removed files of theirs")


@contextmanager
def _all_readable(lake: Lake, paths: Sequence[str]) -> Iterator[None]:
    """Within: a file of a part that cannot be read takes the part away, for else every run would end there."""
    try:
        yield
    except JVM_ERRORS as error:
        found = unreadable_file(said_by(error))
        file, state = found or ("", "")
        part = next((path for path in paths if file.startswith(f"{local_part(path)}/")), None)
        if part is None:
            raise
        _remove(lake, [part])
        raise LostPartError(part, f"cannot be read: {file} {state}") from error


def _remove(lake: Lake, places: Sequence[str]) -> None:
    for place in places:
        path, files = hadoop_path(lake.spark, place)
        files.delete(path, True)


def _remove_empty(lake: Lake, folders: Sequence[str]) -> None:
    """Delete folders, inner ones first, in which no other run has a file."""
    for folder in folders:
        path, files = hadoop_path(lake.spark, folder)
        if files.exists(path) and files.getContentSummary(path).getFileCount() == 0:
            files.delete(path, True)


def _exists(lake: Lake, where: str) -> bool:
    path, files = hadoop_path(lake.spark, where)
    return bool(files.exists(path))
