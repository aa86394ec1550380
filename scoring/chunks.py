"""Parts of a day, scored one after the other and kept aside until the day is whole, so that a killed run goes on.

A part is a Parquet folder at ``{lake.root}/_scoring/{ds}/{model version}/{inputs}/chunk=K``; Spark's own ``_SUCCESS``
in it says that it is finished. Parts of other inputs (table versions, catalogue, configuration) are not taken.
"""

from collections.abc import Callable
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.contract.settings import digest
from etl.lake import Lake, hadoop_path

_DONE = "_SUCCESS"
#: Tables whose versions say nothing of a score: what runs record, and what the item vectors' own digest stands for.
_NO_INPUTS = ("runs", "models", "scores", "item_vectors")


def of_chunk(requests: DataFrame, chunk: int, chunks: int) -> DataFrame:
    """The requests of one part: by a hash of their id, the same in every run."""
    return requests.where(F.pmod(F.xxhash64("request_id"), F.lit(chunks)) == chunk)


def score_in_chunks(
    lake: Lake, ds: str, version: str, identity: Any, requests: DataFrame, chunks: int,
    score: Callable[[DataFrame], DataFrame],
) -> tuple[DataFrame, int]:  # fmt: skip
    """The scores of all parts, each through ``score`` unless it is there; and how many were there.

    ``identity`` is all that scores depend on beside the pinned versions of tables, as plain values.
    """
    inputs = {name: pinned for name, pinned in lake.pinned.items() if name not in _NO_INPUTS}
    root = f"{folder_of(lake, ds, version)}/{digest([identity, sorted(inputs.items()), chunks])}"
    paths = [f"{root}/chunk={chunk}" for chunk in range(chunks)]
    finished = [_exists(lake, f"{path}/{_DONE}") for path in paths]
    for chunk, path in enumerate(paths):
        if not finished[chunk]:
            score(of_chunk(requests, chunk, chunks)).write.mode("overwrite").parquet(path)
    return lake.spark.read.parquet(*paths), sum(finished)


def folder_of(lake: Lake, ds: str, version: str) -> str:
    return f"{lake.root}/_scoring/{ds}/{version}"


def remove(lake: Lake, ds: str, version: str) -> None:
    """Delete what was kept aside for a day."""
    path, files = hadoop_path(lake.spark, folder_of(lake, ds, version))
    files.delete(path, True)


def _exists(lake: Lake, where: str) -> bool:
    path, files = hadoop_path(lake.spark, where)
    return bool(files.exists(path))
