"""How much of a plain numpy product a scoring worker keeps: one batch from Arrow to ranked Arrow, no Spark.

Prints the ratio of pairs per second; both sides score the same pairs in the same run, in turn.
"""

import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import torch

from models.config import TrainConfig
from models.features import FeatureSpec
from models.registry import get_model
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from scoring.embed import ItemMatrix
from scoring.worker import Requests, rank

REQUESTS, CANDIDATES, ITEMS, DIM, TOP, REPEATS = 256, 1000, 100_000, 64, 100, 5


def test_pairs_per_second_against_numpy() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((ITEMS, DIM), dtype=np.float32)
    matrix = ItemMatrix(vectors, rng.integers(1, 99, (ITEMS, 1), dtype=np.int32))
    rows = rng.integers(0, ITEMS, (REQUESTS, CANDIDATES), dtype=np.int32)
    cross = rng.random((REQUESTS, CANDIDATES))
    model, spec = _model()
    batch = Requests(_batch(rows, cross))
    queries = rng.standard_normal((REQUESTS, DIM), dtype=np.float32)

    def product() -> None:
        for query, items, extra in zip(queries, rows, cross, strict=True):
            np.argpartition(vectors[items] @ query + extra, CANDIDATES - TOP)

    ours, theirs = _best(lambda: rank(batch, model, spec, matrix, TOP)), _best(product)
    pairs = REQUESTS * CANDIDATES
    print(f"\nworker {pairs / ours:,.0f} pairs/s, numpy {pairs / theirs:,.0f} pairs/s, ratio {theirs / ours:.2f}")
    assert ours > 0


def _best(run: Callable[[], object]) -> float:
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def _model() -> tuple[torch.nn.Module, FeatureSpec]:
    torch.manual_seed(1)
    torch.set_num_threads(1)
    config = TrainConfig(dim=DIM)
    hashing = {name: getattr(config, name) for name in ("text_buckets", "id_buckets", "category_buckets", "ngram")}
    limits = {"max_text_features": config.max_text_features, "history_length": config.history_length}
    columns = dict.fromkeys(("cross", "categories", "numerics", "dense"), ())
    spec = FeatureSpec(
        ("engagement",), (1.0,), ("impression", "click"), segments={}, dense_width=0, **columns, **hashing, **limits
    )
    return get_model("interactrank")(
        spec, config, CrossScaling((), (), (), ()), NumericStatistics.fit(torch.empty(0, 0))
    ).eval(), spec


def _batch(rows: np.ndarray, cross: np.ndarray) -> pa.RecordBatch:
    nothing = [[] for _ in range(REQUESTS)]
    return pa.RecordBatch.from_pydict(
        {
            "query_key": pa.array([f"query {number}" for number in range(REQUESTS)]),
            "segment_values": pa.array(nothing, pa.list_(pa.string())),
            "item_rows": pa.array(rows.tolist(), pa.list_(pa.int32())),
            "items": pa.array([[f"i{row:07d}" for row in items] for items in rows]),
            "cross": pa.array(cross.tolist()),
            "best_rows": pa.array(nothing, pa.list_(pa.int32())),
            "history_rows": pa.array(nothing, pa.list_(pa.int32())),
            "history_actions": pa.array(nothing, pa.list_(pa.int8())),
            "history_ages": pa.array(nothing, pa.list_(pa.int64())),
        }
    )
