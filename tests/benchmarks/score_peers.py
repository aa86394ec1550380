"""What a user would write instead of bulk scoring: a process with all in memory, and Spark's predict_batch_udf."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import FloatType

from models.contract import ItemFeatures, QueryFeatures
from models.model_dir import load
from scoring.item_matrix import open_matrix
from scoring.item_vectors import matrix_folder
from scoring.pair_scores import dot_scores
from scoring.topk import best_of, sort_keys
from tests.benchmarks.score_lake import CANDIDATES, DIM, SCRATCH, YESTERDAY, ScoreLake

TOP = 100
TOWER_PAIRS, VECTOR_PAIRS = 1_000_000, 2_000_000
#: Their files hold so many pairs and are read as often as it takes.
_TOWER_ROWS, _VECTOR_ROWS = 100_000, 1_000_000


class Arrays:
    """The day in one process's memory: rows, query vectors and cross scores there already."""

    def __init__(self, rows: np.ndarray, vectors: np.ndarray):
        rng = np.random.default_rng(5)
        self.rows, self.vectors = rows, vectors  # (R, K) int64, (N, D)
        self.queries = rng.standard_normal((len(rows), DIM), dtype=np.float32)
        self.cross = rng.random(rows.shape, dtype=np.float32)

    @classmethod
    def of(cls, made: ScoreLake) -> "Arrays":
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


def vector_pairs(spark: SparkSession) -> Any:
    """A pair per row with both vectors, from Parquet; their dot product by predict_batch_udf."""
    path = SCRATCH / "vector_pairs"
    if not path.exists():
        numbers = F.transform(F.sequence(F.lit(0), F.lit(DIM - 1)), lambda at: F.hash("id", at).cast("float"))
        spark.range(_VECTOR_ROWS).select(numbers.alias("q"), F.reverse(numbers).alias("v")).write.parquet(str(path))

    def make() -> Callable[..., Any]:
        def predict(q: np.ndarray, v: np.ndarray) -> np.ndarray:
            return (q * v).sum(axis=1)

        return predict

    dot = predict_batch_udf(make, return_type=FloatType(), batch_size=8192, input_tensor_shapes=[[DIM], [DIM]])
    return spark.read.parquet(*[str(path)] * (VECTOR_PAIRS // _VECTOR_ROWS)).select(dot("q", "v"))


def numbered_pairs(spark: SparkSession, made: ScoreLake) -> Any:
    """A pair per row as two numbers, from Parquet; the vectors lie in every worker's memory."""
    path, requests, items = (
        SCRATCH / f"{made.pairs}-{made.items}" / "numbered_pairs",
        made.pairs // CANDIDATES,
        made.items,
    )
    number = F.pmod(F.hash("id"), F.lit(items)).alias("item")
    if not path.exists():
        spark.range(made.pairs).select((F.col("id") % requests).cast("int").alias("request"), number).write.parquet(
            str(path)
        )
    folder = matrix_folder(made.config, load(made.model_dir).card.version, YESTERDAY)

    def make() -> Callable[..., Any]:
        vectors = np.array(open_matrix(folder).vectors)
        queries = np.random.default_rng(5).standard_normal((requests, DIM), dtype=np.float32)

        def predict(request: np.ndarray, item: np.ndarray) -> np.ndarray:
            return np.einsum("pd,pd->p", queries[request], vectors[item])

        return predict

    dot = predict_batch_udf(make, return_type=FloatType(), batch_size=8192)
    return spark.read.parquet(str(path)).select(dot("request", "item"))


def tower_pairs(spark: SparkSession, made: ScoreLake) -> Any:
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
        spark.range(_TOWER_ROWS).select(*text, best, drawn(cross, 9, 3).alias("cross")).write.parquet(str(path))

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
    pairs = spark.read.parquet(*[str(path)] * (TOWER_PAIRS // _TOWER_ROWS))
    return pairs.select(ranked("q_text", "v_text", "best", "cross"))
