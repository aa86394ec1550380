"""Bulk scoring end to end in Spark against what a user would write instead, in one run on the same cores.

    make bench-score                             10 million pairs of 100,000 items, 64-d
    make bench-score PAIRS=1000000 ITEMS=10000   the short form, which keeps no results
    make bench-score GROWTH=100 ARGS="-k growth" up to 100 million pairs

The job is ``prerank score`` with vectors at hand: checks, interactions folded into lists, then the stage that reads
string ids from Delta, runs query towers, scores, keeps 100 and commits to Delta. The peers are spared reading ids,
top-k (in Spark) and writing, and all but one the towers.
"""

import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import scoring.candidate_files
import scoring.score
import scoring.worker
from etl.contract import columns as c
from models.config import TrainConfig
from models.model_dir import load
from scoring.candidate_files import CandidateFiles, hashed_lists
from scoring.cross_lists import CrossLayout, pack
from scoring.item_matrix import matrix_of, open_matrix
from scoring.item_vectors import matrix_folder
from scoring.pair_scores import dot_scores
from scoring.score import score_candidates
from scoring.worker import Limits, Worker
from scoring.xxhash import xxhash64
from tests.benchmarks.measuring import Laps, PeakMemory, cpu_seconds, seconds_of
from tests.benchmarks.score_lake import CANDIDATES, DIM, DS, QUERIES, SEEN, YESTERDAY, ScoreLake, item_ids, score_lake
from tests.benchmarks.score_peers import (
    TOP,
    TOWER_PAIRS,
    VECTOR_PAIRS,
    Arrays,
    numbered_pairs,
    tower_pairs,
    vector_pairs,
)
from tests.models.model_fixture import SPEC, untrained

PAIRS = int(os.environ.get("PRERANK_SCORE_PAIRS") or 10_000_000)
ITEMS = int(os.environ.get("PRERANK_SCORE_ITEMS") or 100_000)
MOST = int(os.environ.get("PRERANK_SCORE_GROWTH") or 10) * 1_000_000
RESULTS = Path(__file__).parent / "results"
SHORT = bool(os.environ.get("PRERANK_SCORE_PAIRS") or os.environ.get("PRERANK_SCORE_ITEMS"))
ROUNDS = 3


def test_end_to_end_against_peers(spark: SparkSession) -> None:
    made = score_lake(spark, PAIRS, ITEMS)
    arrays = Arrays.of(made)
    vectors_frame, towers_frame = vector_pairs(spark), tower_pairs(spark, made)
    numbered_frame = numbered_pairs(spark, made)
    runs: dict[str, tuple[int, Callable[[], object]]] = {
        "prerank, job": (PAIRS, lambda: _score(made)),
        "numpy in memory": (PAIRS, arrays.numpy),
        "torch in memory, gathered": (PAIRS, arrays.torch_gathered),
        "torch in memory, sampled product": (PAIRS, arrays.torch_sampled),
        "predict_batch_udf from vectors": (VECTOR_PAIRS, lambda: _to_nowhere(vectors_frame)),
        "predict_batch_udf from vectors in memory": (PAIRS, lambda: _to_nowhere(numbered_frame)),
        "predict_batch_udf with towers": (TOWER_PAIRS, lambda: _to_nowhere(towers_frame)),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in (*runs, "prerank, stage")}
    for _, run in runs.values():  # once to warm up
        run()
    stage = scoring.score.replace_partitions
    with patch.object(scoring.score, "replace_partitions", _noted(stage, seconds["prerank, stage"])):
        for _ in range(ROUNDS):
            for name, (_, run) in runs.items():
                _noted(run, seconds[name])()
    pairs_of = {name: pairs for name, (pairs, _) in runs.items()} | {"prerank, stage": PAIRS}
    result = {"pairs": PAIRS, "items": ITEMS, "pairs_of": pairs_of}
    # On a machine that others use too, CPU seconds compare better than those of the clock.
    for place, clock in enumerate(("wall", "cpu")):
        best = {name: min(one[place] for one in seconds[name]) for name in pairs_of}
        rate = {name: round(pairs / best[name]) for name, pairs in pairs_of.items()}
        rate["best in memory"] = max(value for name, value in rate.items() if "in memory" in name)
        result[f"{clock}_seconds"] = {name: round(value, 2) for name, value in best.items()}
        result[f"pairs_per_{clock}_second"] = rate
        peers = [name for name in rate if not name.startswith("prerank")]
        for ours in ("job", "stage"):
            result[f"{ours} over peer, {clock}"] = {
                name: round(rate[f"prerank, {ours}"] / rate[name], 3) for name in peers
            }
    _report("end_to_end", result)
    assert len(result) > 3


def test_where_the_time_goes(spark: SparkSession) -> None:
    """One core, from files to Arrow, without Spark; and what Spark adds to it on two cores."""
    made = score_lake(spark, PAIRS, ITEMS)
    whole = min(seconds_of(lambda: _score(made)) for _ in range(2))
    laps = Laps()
    names = {
        "encode_queries": "query tower",
        "query_features": "query features",
        "dot_scores": "gather and product",
        "sort_keys": "select",
        "best_of": "select",
        "_as_lists": "encode",
    }
    timed = {name: laps.timed(part, getattr(scoring.worker, name)) for name, part in names.items()}
    patches = [patch.object(scoring.worker, name, run) for name, run in timed.items()]
    hashed = laps.timed("decode: hash", scoring.candidate_files.xxhash64)
    patches.append(patch.object(scoring.candidate_files, "xxhash64", hashed))
    patches.append(patch.object(Worker, "_cross", laps.timed("cross", Worker._cross)))
    matrix = open_matrix(matrix_folder(made.config, load(made.model_dir).card.version, YESTERDAY))
    look_up = laps.timed("decode: rows", type(matrix).rows_of_hashes)
    patches.append(patch.object(type(matrix), "rows_of_hashes", look_up))
    for one in patches:
        one.start()
    torch.set_num_threads(1)
    begun = time.process_time()
    requests = _worker_over_files(made, matrix, laps)
    total = time.process_time() - begun
    for one in patches:
        one.stop()
    torch.set_num_threads(os.cpu_count() or 1)
    laps.seconds["rest"] = total - sum(laps.seconds.values())
    result = {
        "pairs": requests * CANDIDATES,
        "worker_cpu_seconds": round(total, 2),
        "worker_pairs_per_second_and_core": round(requests * CANDIDATES / total),
        "share": {
            name: round(value / total, 3) for name, value in sorted(laps.seconds.items(), key=lambda one: -one[1])
        },
        "end_to_end_seconds": round(whole, 2),
        "share_of_workers_in_end_to_end": round(total / (os.cpu_count() or 1) / whole, 3),
    }
    _report("where", result)
    assert requests * CANDIDATES == PAIRS


def test_growth(spark: SparkSession) -> None:
    sizes = [(pairs, ITEMS) for pairs in (1_000_000, 10_000_000, 100_000_000) if pairs <= max(MOST, PAIRS)]
    sizes += [
        (min(PAIRS, 2_000_000), items) for items in (10_000, 100_000, 1_000_000) if SHORT is False or items <= ITEMS
    ]
    found = {}
    for pairs, items in sizes:
        made = score_lake(spark, pairs, items)
        with PeakMemory() as peak:
            seconds = min(seconds_of(lambda made=made: _score(made)) for _ in range(2))
        in_memory = min(map(seconds_of, [Arrays.of(made).torch_sampled] * 2))
        found[f"{pairs} pairs of {items} items"] = {
            "seconds": round(seconds, 2),
            "nanoseconds_per_pair": round(seconds / pairs * 1e9),
            "torch in memory, seconds": round(in_memory, 2),
            "job over torch in memory": round(in_memory / seconds, 3),
            "peak_mb_per_worker": round(peak.resident / 2**20),
            "peak_mb_per_worker_of_its_own": round(peak.own / 2**20),
        }
    _report("growth", {"sizes": found})
    assert found


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_worker_against_the_memory_bandwidth_of_the_card() -> None:
    device, items, requests = torch.device("cuda"), 2_000_000, 4096
    big = torch.rand(1 << 28, device=device)
    bandwidth = 2 * 4 * (1 << 28) / median(seconds_of(big.clone) for _ in range(10))
    rng = np.random.default_rng(3)
    rows = torch.from_numpy(rng.integers(0, items, requests * CANDIDATES)).to(device)
    lengths = torch.full((requests,), CANDIDATES, device=device)
    extra = torch.zeros(len(rows), device=device)
    found = {}
    for kind in (torch.float32, torch.bfloat16):
        v = torch.randn(items, DIM, device=device).to(kind)
        q = torch.randn(requests, DIM, device=device).to(kind)
        seconds = median(seconds_of(lambda q=q, v=v: dot_scores(q, v, rows, lengths, extra)) for _ in range(10))
        moved = len(rows) * (DIM * v.element_size() + 8 + 4 + 4)
        found[str(kind)] = {
            "pairs_per_second": len(rows) / seconds,
            "bytes_per_second": moved / seconds,
            "share_of_bandwidth": moved / seconds / bandwidth,
        }
    found["from Arrow to Arrow"] = _gpu_loop(device)
    _report("gpu", {"card": torch.cuda.get_device_name(), "bytes_per_second_of_a_copy": bandwidth, **found})
    assert found


def _noted(function: Callable[..., Any], seconds: list[tuple[float, float]]) -> Callable[..., Any]:
    """``function``, whose seconds, of the clock and of CPUs, are added to ``seconds``."""

    def run(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter(), cpu_seconds()
        try:
            return function(*args, **kwargs)
        finally:
            seconds.append((time.perf_counter() - begun[0], cpu_seconds() - begun[1]))

    return run


def _score(made: ScoreLake) -> None:
    """A day is scored once: without what an earlier round wrote, which Delta would have to take away first."""
    shutil.rmtree(Path(made.again().path(c.SCORES)), ignore_errors=True)
    report = score_candidates(made.again(), made.config, DS, made.model_dir)
    assert (report.pairs, report.unknown_items, report.embedded) == (made.pairs, 0, 0)


def _to_nowhere(frame: Any) -> None:
    frame.write.format("noop").mode("overwrite").save()


def _worker_over_files(made: ScoreLake, matrix: Any, laps: Laps) -> int:
    """All of the day through one worker in this process; returns the number of requests."""
    layout = CrossLayout(("all",), ((0,),), 0.5)
    worker = Worker(load(made.model_dir), layout, matrix, Limits(TOP, 256), torch.device("cpu"))
    rng = np.random.default_rng(1)
    packed = [pack(rng.choice(made.items, SEEN, replace=False), rng.random((SEEN, 1))) for _ in range(QUERIES)]
    day = made.again().read(c.CANDIDATES).select("request_id", "query_key", F.concat(
        "_metadata.file_path", F.lit("#0-9999999999")).alias("file"))  # fmt: skip
    files, count = CandidateFiles(), 0
    lists_of = laps.timed("decode: Parquet", lambda part: files.lists(part["file"], part["request_id"]))
    table = day.toArrow()
    for batch in table.to_batches(max_chunksize=8192):
        numbers = [int(key.split()[1]) for key in batch["query_key"].to_pylist()]
        whole = _with_lists(batch, [packed[number] for number in numbers])
        for _ in worker.rank([whole], ("request_id",), lists_of):
            pass
        count += len(batch)
    return count


def _with_lists(batch: pa.RecordBatch, packed: list[bytes], segments: Sequence[str] = ()) -> pa.RecordBatch:
    count = len(batch)
    none = pa.array([[]] * count, pa.list_(pa.int64()))
    more = {
        "segment_values": pa.array([list(segments)] * count, pa.list_(pa.string())),
        "lists": pa.array([[one] for one in packed], pa.list_(pa.binary())),
        "rates": pa.array([None] * count, pa.binary()),
        "best_items": none, "best_ids": none, "history_items": none, "history_ids": none, "history_ages": none,
        "history_actions": pa.array([[]] * count, pa.list_(pa.int8())),
    }  # fmt: skip
    return pa.RecordBatch.from_arrays([*batch.columns, *more.values()], names=[*batch.schema.names, *more])


def _gpu_loop(device: torch.device) -> dict[str, float]:
    """Arrow batches to Arrow batches, vectors on the card, the rest on one core."""
    requests, items = 512, 100_000
    rng = np.random.default_rng(6)
    ids = item_ids(items)
    vectors = rng.standard_normal((items, DIM), dtype=np.float32)
    matrix = matrix_of(ids.to_pylist(), xxhash64(ids), vectors, np.ones((items, 2), np.int32))
    loaded = SimpleNamespace(model=untrained("two_tower", TrainConfig(dim=DIM)), card=SimpleNamespace(spec=SPEC))
    worker = Worker(loaded, CrossLayout((), (), 0.0), matrix, Limits(TOP, 256), device)
    chosen = pa.array(rng.integers(0, items, requests * CANDIDATES))
    lists = pa.ListArray.from_arrays(pa.array(np.arange(requests + 1) * CANDIDATES, pa.int32()), ids.take(chosen))
    columns = {"request_id": [str(one) for one in range(requests)], "query_key": ["q"] * requests, "items": lists}
    whole = _with_lists(pa.record_batch(columns), [b""] * requests, [""])

    def run() -> None:
        for _ in worker.rank([whole], ("request_id",), lambda one: hashed_lists(one["items"])):
            pass

    return {"pairs_per_second": requests * CANDIDATES / median(seconds_of(run) for _ in range(5))}


def _report(name: str, result: dict[str, Any]) -> None:
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "torch": torch.__version__}
    text = json.dumps({"part": name, **result, "on": machine}, indent=2)
    print(f"\n{text}")
    if not SHORT:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"score_{name}.json").write_text(text + "\n", encoding="utf-8")
