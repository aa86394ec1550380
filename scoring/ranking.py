"""Requests through workers on Spark, batch by batch, and with several shards the merge of their bests.

With several shards a request is sent to each of them. A task maps one shard, however many requests it sees.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
from pyspark.resource import ResourceProfile
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from scoring.candidate_files import CandidateFiles, hashed_lists
from scoring.cross_lists import CrossLayout
from scoring.devices import task_device
from scoring.embed import open_model
from scoring.item_matrix import shared_matrix
from scoring.request_lists import FILE, ITEMS, KEPT, PLACE
from scoring.worker import COUNTS, Limits, Worker

SHARD = "shard"
_RANKED = "array<struct<item_id: string, score: float>>"
_SCORED = (
    "ds string, request_id string, query_key string, user_id string, segments map<string,string>, "
    f"ranked {_RANKED}, " + ", ".join(f"{name} bigint" for name in COUNTS)
)


@dataclass(frozen=True)
class Ranking:
    """All that a worker has to know; it travels to the workers."""

    model_dir: str
    version: str
    folder: str
    stamp: str
    """Of the matrix in ``folder``."""
    shards: int
    layout: CrossLayout
    top_k: int
    requests_per_batch: int
    direct: bool
    """Whether workers read candidates from files (see scoring.candidate_files)."""
    device: str
    """score.device"""


def ranked(
    requests: DataFrame, ranking: Ranking, tasks: int, in_order: bool, profile: ResourceProfile | None = None
) -> DataFrame:
    """KEPT, ``ranked`` and COUNTS of each of ``requests`` (see request_lists.scoring_requests).

    ``in_order`` says that they come as they lie in their files; otherwise they are brought into that order. ``profile``
    is what tasks that run a model hold.
    """
    if ranking.shards == 1:
        stay = profile is None and (in_order or not ranking.direct)
        ordered = requests if stay else _in_file_order(requests, ranking, [], tasks)
        return ordered.mapInArrow(_ranker(ranking), _SCORED, profile=profile)
    shards = F.explode(F.sequence(F.lit(0), F.lit(ranking.shards - 1)))
    placed = _in_file_order(requests.withColumn(SHARD, shards), ranking, [SHARD], tasks * ranking.shards)
    return _merged(placed.mapInArrow(_ranker(ranking), _SCORED, profile=profile), ranking.top_k)


def count_columns() -> list[Column]:
    """Aggregates of ranked requests: the counts of a report."""
    sums = [F.sum(name).alias(name) for name in COUNTS]
    empty = F.count_if(F.col("pairs") == F.col("unknown_items")).alias("empty_requests")
    return [F.count(F.lit(1)).alias("requests"), empty, *sums]


def _in_file_order(requests: DataFrame, ranking: Ranking, first: list[str], tasks: int) -> DataFrame:
    """Each file, or block of one, and each shard in one task, in the order of its rows: a stage of its own."""
    key = [*first, FILE if ranking.direct else "request_id"]
    placed = requests.repartition(tasks, F.xxhash64(*key))
    order = [*key, PLACE] if ranking.direct else first
    return placed.sortWithinPartitions(*order) if order else placed


def _ranker(ranking: Ranking) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        loaded, device = open_model(ranking.model_dir, ranking.version), task_device(ranking.device)
        matrix = shared_matrix(ranking.folder, ranking.stamp)
        limits = Limits(ranking.top_k, ranking.requests_per_batch)
        files = CandidateFiles()

        def lists_of(part: pa.RecordBatch) -> pa.ListArray:
            return files.lists(part[FILE], part["request_id"]) if ranking.direct else hashed_lists(part[ITEMS])

        workers: dict[int, Worker] = {}
        for shard, batch in _by_shard(batches, ranking.shards):
            if shard not in workers:
                workers = {shard: Worker(loaded, ranking.layout, matrix, limits, device, shard)}
            yield from workers[shard].rank([batch], KEPT, lists_of)

    return run


def _by_shard(batches: Iterable[pa.RecordBatch], shards: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches with the one shard that their requests are for."""
    for batch in batches:
        if shards == 1:
            yield 0, batch
            continue
        column = batch[SHARD].to_numpy()
        low = 0
        while low < len(column):
            high = low + int((column[low:] == column[low]).argmin() or len(column) - low)
            yield int(column[low]), batch.slice(low, high - low)
            low = high


def _merged(parts: DataFrame, k: int) -> DataFrame:
    """Of each request the best ``k`` of all its shards; ties by item_id."""
    flat = F.flatten(F.collect_list("ranked"))
    keyed = F.transform(flat, lambda one: F.struct((-one["score"]).alias("rank"), one["item_id"].alias("item_id")))
    best = F.slice(F.array_sort(keyed), 1, k)
    back = F.transform(best, lambda one: F.struct(one["item_id"], (-one["rank"]).alias("score")))
    others = [F.first(name).alias(name) for name in KEPT if name not in ("ds", "request_id")]
    sums = [F.sum(name).alias(name) for name in COUNTS]
    merged = parts.groupBy("ds", "request_id").agg(*others, back.cast(_RANKED).alias("ranked"), *sums)
    return merged.select(*KEPT, "ranked", *COUNTS)
