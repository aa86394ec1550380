"""Bulk scoring end to end in Spark against what a user would write instead, in one run on the same cores.

    make bench-score                             10 million pairs of 100,000 items, 64-d
    make bench-score PAIRS=1000000 ITEMS=10000   the short form, which keeps no results
    make bench-score GROWTH=100 ARGS="-k growth" up to 100 million pairs

End to end is the job: string ids and interactions from Delta, query towers, scores, top-100, one Delta commit. The peers
are spared reading ids, towers (but for the one that runs them per pair), top-k and writing.
"""

import json
import os
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import FloatType

import scoring.worker
from etl.contract import columns as c
from models.contract import ItemFeatures, QueryFeatures
from models.model_dir import load
from scoring.candidate_files import CandidateFiles
from scoring.cross_lists import CrossLayout, pack
from scoring.item_matrix import matrix_of, open_matrix
from scoring.item_vectors import matrix_folder
from scoring.pair_scores import dot_scores
from scoring.score import score_candidates
from scoring.topk import best_of, sort_keys
from scoring.worker import Limits, Worker
from tests.benchmarks.score_lake import CANDIDATES, DIM, DS, QUERIES, SCRATCH, SEEN, YESTERDAY, ScoreLake, score_lake

PAIRS = int(os.environ.get("PRERANK_SCORE_PAIRS") or 10_000_000)
ITEMS = int(os.environ.get("PRERANK_SCORE_ITEMS") or 100_000)
MOST = int(os.environ.get("PRERANK_SCORE_GROWTH") or 10) * 1_000_000
RESULTS = Path(__file__).parent / "results"
SHORT = bool(os.environ.get("PRERANK_SCORE_PAIRS") or os.environ.get("PRERANK_SCORE_ITEMS"))
TOP, ROUNDS = 100, 3
TOWER_PAIRS, VECTOR_PAIRS = 100_000, 1_000_000


def test_end_to_end_against_peers(spark: SparkSession) -> None:
    made = score_lake(spark, PAIRS, ITEMS)
    arrays = _Arrays.of(made)
    vectors_frame, towers_frame = _vector_pairs(spark, made), _tower_pairs(spark, made)
    runs: dict[str, tuple[int, Callable[[], object]]] = {
        "prerank": (PAIRS, lambda: _score(made)),
        "numpy in memory": (PAIRS, arrays.numpy),
        "torch in memory, gathered": (PAIRS, arrays.torch_gathered),
        "torch in memory, sampled product": (PAIRS, arrays.torch_sampled),
        "predict_batch_udf from vectors": (VECTOR_PAIRS, lambda: _to_nowhere(vectors_frame)),
        "predict_batch_udf with towers": (TOWER_PAIRS, lambda: _to_nowhere(towers_frame)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for name, (_, run) in runs.items():  # once to warm up
        _seconds(run)
    for _ in range(ROUNDS):
        for name, (_, run) in runs.items():
            seconds[name].append(_seconds(run))
    rate = {name: round(pairs / min(seconds[name])) for name, (pairs, _) in runs.items()}
    memory = max(value for name, value in rate.items() if "in memory" in name)
    result = {
        "pairs": PAIRS,
        "items": ITEMS,
        "pairs_of_peer": {name: pairs for name, (pairs, _) in runs.items()},
        "seconds": {name: [round(one, 2) for one in values] for name, values in seconds.items()},
        "pairs_per_second": rate,
        "times_predict_batch_udf_from_vectors": round(rate["prerank"] / rate["predict_batch_udf from vectors"], 2),
        "times_predict_batch_udf_with_towers": round(rate["prerank"] / rate["predict_batch_udf with towers"], 1),
        "share_of_best_in_memory": round(rate["prerank"] / memory, 3),
    }
    _report("end_to_end", result)
    assert rate["prerank"] > 0


def test_where_the_time_goes(spark: SparkSession) -> None:
    """One core, from files to Arrow, without Spark; and what Spark adds to it on two cores."""
    made = score_lake(spark, PAIRS, ITEMS)
    whole = min(_seconds(lambda: _score(made)) for _ in range(2))
    laps = _Laps()
    names = {"xxhash64": "decode: hash", "encode_queries": "query tower", "query_features": "query features",
             "dot_scores": "gather and product", "sort_keys": "select", "best_of": "select", "_as_lists": "encode"}  # fmt: skip
    patches = [patch.object(scoring.worker, name, laps.timed(part, getattr(scoring.worker, name)))
               for name, part in names.items()]  # fmt: skip
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
        with _PeakMemory() as peak:
            seconds = min(_seconds(lambda made=made: _score(made)) for _ in range(2))
        found[f"{pairs} pairs of {items} items"] = {
            "seconds": round(seconds, 2),
            "nanoseconds_per_pair": round(seconds / pairs * 1e9),
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
    bandwidth = 2 * 4 * (1 << 28) / median(_seconds(big.clone) for _ in range(10))
    rng = np.random.default_rng(3)
    rows = torch.from_numpy(rng.integers(0, items, requests * CANDIDATES)).to(device)
    lengths = torch.full((requests,), CANDIDATES, device=device)
    extra = torch.zeros(len(rows), device=device)
    found = {}
    for kind in (torch.float32, torch.bfloat16):
        v = torch.randn(items, DIM, device=device).to(kind)
        q = torch.randn(requests, DIM, device=device).to(kind)
        seconds = median(_seconds(lambda q=q, v=v: dot_scores(q, v, rows, lengths, extra)) for _ in range(10))
        moved = len(rows) * (DIM * v.element_size() + 8 + 4 + 4)
        found[str(kind)] = {
            "pairs_per_second": len(rows) / seconds,
            "bytes_per_second": moved / seconds,
            "share_of_bandwidth": moved / seconds / bandwidth,
        }
    found["from Arrow to Arrow"] = _gpu_loop(device)
    _report("gpu", {"card": torch.cuda.get_device_name(), "bytes_per_second_of_a_copy": bandwidth, **found})
    assert found


class _Arrays:
    """The day in one process's memory: rows, query vectors and cross scores there already."""

    def __init__(self, rows: np.ndarray, vectors: np.ndarray):
        rng = np.random.default_rng(5)
        self.rows, self.vectors = rows, vectors  # (R, K) int64, (N, D)
        self.queries = rng.standard_normal((len(rows), DIM), dtype=np.float32)
        self.cross = rng.random(rows.shape, dtype=np.float32)

    @classmethod
    def of(cls, made: ScoreLake) -> "_Arrays":
        matrix = open_matrix(matrix_folder(made.config, load(made.model_dir).card.version, YESTERDAY))
        rng = np.random.default_rng(4)
        rows = rng.integers(0, made.items, (made.pairs // CANDIDATES, CANDIDATES))
        return cls(rows, np.array(matrix.vectors))

    def numpy(self) -> None:
        buffer = np.empty((CANDIDATES, DIM), np.float32)
        for query, rows, cross in zip(self.queries, self.rows, self.cross, strict=True):
            np.take(self.vectors, rows, axis=0, out=buffer, mode="clip")
            scores = buffer @ query + cross
            best = np.argpartition(scores, CANDIDATES - TOP)[-TOP:]
            best[np.argsort(-scores[best])]

    def torch_gathered(self) -> None:
        torch.set_num_threads(os.cpu_count() or 1)
        v, size = torch.from_numpy(self.vectors), 64
        for low in range(0, len(self.rows), size):
            rows = torch.from_numpy(self.rows[low : low + size])
            q = torch.from_numpy(self.queries[low : low + size])
            gathered = v.index_select(0, rows.flatten()).view(*rows.shape, DIM)
            scores = torch.bmm(gathered, q.unsqueeze(2)).squeeze(2) + torch.from_numpy(self.cross[low : low + size])
            scores.topk(TOP, dim=1)

    def torch_sampled(self) -> None:
        torch.set_num_threads(os.cpu_count() or 1)
        v, size = torch.from_numpy(self.vectors), 256
        for low in range(0, len(self.rows), size):
            rows, cross = self.rows[low : low + size], self.cross[low : low + size]
            lengths = torch.full((len(rows),), CANDIDATES)
            q = torch.from_numpy(self.queries[low : low + size])
            scores = dot_scores(q, v, torch.from_numpy(rows.ravel()), lengths, torch.from_numpy(cross.ravel()))
            best_of(sort_keys(scores.numpy(), rows.ravel().astype(np.int32)), lengths.numpy(), TOP)


class _Laps:
    """CPU seconds by part; a part within another counts for itself only."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = [0.0]

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            begun = time.process_time()
            self._inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                spent, inner = time.process_time() - begun, self._inner.pop()
                self.seconds[part] = self.seconds.get(part, 0.0) + spent - inner
                self._inner[-1] += spent

        return run


class _PeakMemory:
    """The largest Python worker of Spark while it runs: all that is resident, and without what it maps from files."""

    def __enter__(self) -> "_PeakMemory":
        self.resident = self.own = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            for status in Path("/proc").glob("[0-9]*/status"):
                try:
                    if b"pyspark.daemon" not in (status.parent / "cmdline").read_bytes() or not _ours(status.parent):
                        continue
                    kb = dict(line.split(":", 1) for line in status.read_text().splitlines())
                    self.resident = max(self.resident, int(kb["VmRSS"].split()[0]) * 1024)
                    self.own = max(self.own, int(kb["RssAnon"].split()[0]) * 1024)
                except (OSError, KeyError, ValueError):
                    continue


def _ours(process: Path) -> bool:
    """Whether a process descends from this one."""
    number = int(process.name)
    while number > 1:
        if number == os.getpid():
            return True
        number = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
    return False


def _score(made: ScoreLake) -> None:
    report = score_candidates(made.again(), made.config, DS, made.model_dir)
    assert (report.pairs, report.unknown_items, report.embedded) == (made.pairs, 0, 0)


def _to_nowhere(frame: Any) -> None:
    frame.write.format("noop").mode("overwrite").save()


def _vector_pairs(spark: SparkSession, made: ScoreLake) -> Any:
    """A pair per row with both vectors, from Parquet; their dot product by predict_batch_udf."""
    path = SCRATCH / "vector_pairs"
    if not path.exists():
        numbers = F.transform(F.sequence(F.lit(0), F.lit(DIM - 1)), lambda at: F.hash("id", at).cast("float"))
        spark.range(VECTOR_PAIRS).select(numbers.alias("q"), F.reverse(numbers).alias("v")).write.parquet(str(path))

    def make() -> Callable[..., Any]:
        def predict(q: np.ndarray, v: np.ndarray) -> np.ndarray:
            return (q * v).sum(axis=1)

        return predict

    dot = predict_batch_udf(make, return_type=FloatType(), batch_size=8192, input_tensor_shapes=[[DIM], [DIM]])
    return spark.read.parquet(str(path)).select(dot("q", "v"))


def _tower_pairs(spark: SparkSession, made: ScoreLake) -> Any:
    """A pair per row with the hashed features of both sides; the whole model by predict_batch_udf."""
    card = load(made.model_dir).card
    words, buckets, model_dir = card.spec.max_text_features, card.spec.text_buckets, str(made.model_dir)
    listed, cross = 20, len(card.spec.cross)
    path = SCRATCH / "tower_pairs"
    if not path.exists():

        def drawn(count: int, most: int, seed: int) -> Any:
            numbers = F.sequence(F.lit(1), F.lit(count))
            return F.transform(numbers, lambda at: F.pmod(F.hash("id", at, F.lit(seed)), F.lit(most)).cast("float"))

        text = [drawn(words, buckets, seed).alias(name) for seed, name in enumerate(("q_text", "v_text"))]
        best = drawn(listed, card.spec.id_buckets, 2).alias("best")
        spark.range(TOWER_PAIRS).select(*text, best, drawn(cross, 9, 3).alias("cross")).write.parquet(str(path))

    def make() -> Callable[..., Any]:
        torch.set_num_threads(1)
        model, spec = load(Path(model_dir)).model, card.spec

        def predict(q_text: np.ndarray, v_text: np.ndarray, best: np.ndarray, cross: np.ndarray) -> np.ndarray:
            rows = len(q_text)
            zero, length = torch.zeros(rows, dtype=torch.int32), spec.history_length
            none = torch.zeros(rows, length, dtype=torch.int32)
            top = torch.from_numpy(best).int()
            kinds = len(spec.categories)
            queries = QueryFeatures(
                torch.from_numpy(q_text).int(), zero, torch.zeros(rows, len(spec.segments), dtype=torch.int32), none,
                none.unsqueeze(-1).expand(rows, length, kinds), none, none, top,
                top.unsqueeze(-1).expand(*top.shape, kinds).clamp(max=9),
            )  # fmt: skip
            items = ItemFeatures(
                torch.from_numpy(v_text).int(), zero, torch.zeros(rows, kinds, dtype=torch.int32),
                torch.zeros(rows, 0), torch.zeros(rows, 0),
            )  # fmt: skip
            with torch.inference_mode():
                logits = model.score(model.encode_query(queries), model.encode_item(items), torch.from_numpy(cross))
                return model.ranking_score(logits).numpy()

        return predict

    shapes = [[words], [words], [listed], [cross]]
    ranked = predict_batch_udf(make, return_type=FloatType(), batch_size=1024, input_tensor_shapes=shapes)
    return spark.read.parquet(str(path)).select(ranked("q_text", "v_text", "best", "cross"))


def _worker_over_files(made: ScoreLake, matrix: Any, laps: _Laps) -> int:
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


def _with_lists(batch: pa.RecordBatch, packed: list[bytes]) -> pa.RecordBatch:
    count = len(batch)
    none = pa.array([[]] * count, pa.list_(pa.int64()))
    more = {
        "segment_values": pa.array([[]] * count, pa.list_(pa.string())),
        "lists": pa.array([[one] for one in packed], pa.list_(pa.binary())),
        "rates": pa.array([None] * count, pa.binary()),
        "best": none, "history_items": none, "history_ages": none,
        "history_actions": pa.array([[]] * count, pa.list_(pa.int8())),
    }  # fmt: skip
    return pa.RecordBatch.from_arrays([*batch.columns, *more.values()], names=[*batch.schema.names, *more])


def _gpu_loop(device: torch.device) -> dict[str, float]:
    """Arrow batches to Arrow batches, vectors on the card, the rest on one core."""
    from types import SimpleNamespace

    from models.config import TrainConfig
    from scoring.xxhash import xxhash64
    from tests.models.model_fixture import untrained

    requests, items = 512, 100_000
    rng = np.random.default_rng(6)
    ids = pa.array([f"item-{number:08d}" for number in range(items)])
    matrix = matrix_of(ids.to_pylist(), xxhash64(ids), rng.standard_normal((items, DIM), dtype=np.float32),
                       np.ones((items, 2), np.int32))  # fmt: skip
    model = untrained("two_tower", TrainConfig(dim=DIM))
    from tests.models.model_fixture import SPEC

    loaded = SimpleNamespace(model=model, card=SimpleNamespace(spec=replace(SPEC, segments={})))
    loaded = SimpleNamespace(model=model, card=SimpleNamespace(spec=SPEC))
    worker = Worker(loaded, CrossLayout((), (), 0.0), matrix, Limits(TOP, 256), device)
    chosen = rng.integers(0, items, requests * CANDIDATES)
    lists = pa.ListArray.from_arrays(
        pa.array(np.arange(requests + 1) * CANDIDATES, pa.int32()), ids.take(pa.array(chosen))
    )
    batch = pa.record_batch(
        {"request_id": [str(n) for n in range(requests)], "query_key": ["q"] * requests, "items": lists}
    )
    whole = _with_lists(batch, [b""] * requests)
    at = whole.schema.get_field_index("segment_values")
    whole = whole.set_column(at, "segment_values", pa.array([[""]] * requests, pa.list_(pa.string())))
    seconds = median(
        _seconds(lambda: list(worker.rank([whole], ("request_id",), lambda one: one["items"]))) for _ in range(5)
    )
    return {"pairs_per_second": requests * CANDIDATES / seconds}


def _seconds(run: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    begun = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def _report(name: str, result: dict[str, Any]) -> None:
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "torch": torch.__version__}
    text = json.dumps({"part": name, **result, "on": machine}, indent=2)
    print(f"\n{text}")
    if not SHORT:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"score_{name}.json").write_text(text + "\n", encoding="utf-8")
