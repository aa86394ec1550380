"""What an executor does with a batch of requests: query vectors, dot products, top-k. No Spark in here.

A request arrives as one row with its items as lists; only its best items leave.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from etl.contract.manifest import QUERY_ITEMS_LENGTH
from models.contract import QueryFeatures
from models.features import FeatureSpec, HistoryRows
from models.fusion import LinearFusionRanker
from scoring.embed import ItemMatrix, in_full_blocks, item_table
from scoring.topk import top_k

RANKED = pa.list_(pa.struct([("item_id", pa.string()), ("score", pa.float32())]))


@dataclass(frozen=True)
class Requests:
    """R requests as Arrow delivers them; lists are per request.

    ``item_rows`` index the item matrix, ``cross`` is the fusion's part of each pair, ``history_*`` are the user's last
    actions, latest first, ``best_rows`` the query's best items, best first.
    """

    batch: pa.RecordBatch

    def strings(self, name: str) -> list[str]:
        values: list[str] = self.batch[name].to_pylist()
        return values

    def lists(self, name: str) -> list[npt.NDArray[np.generic]]:
        column = self.batch[name]
        flat = column.values.to_numpy(zero_copy_only=False)
        offsets = column.offsets.to_numpy()
        return [flat[low:high] for low, high in pairwise(offsets)]


def rank(
    requests: Requests, model: LinearFusionRanker, spec: FeatureSpec, matrix: ItemMatrix, k: int,
    device: torch.device | None = None,
) -> pa.Array:  # fmt: skip
    """The ``ranked`` column (R,) of a batch: array<struct<item_id, score>>, best first.

    The query tower runs on ``device``, where the model is; None is the CPU.

    Raises ValueError if a score is not a number: a damaged model must not order anything.
    """
    with torch.inference_mode():
        features = query_features(requests, spec, matrix)
        blended = in_full_blocks(model.blended_query, features, device or torch.device("cpu")).numpy()  # (R, D)
    weight = np.float32(model.fusion().dot_weight)
    ranked = []
    columns = zip(blended, requests.lists("item_rows"), requests.lists("cross"), requests.strings("items"), strict=True)
    for vector, rows, cross, ids in columns:
        scores = weight * (matrix.vectors[rows.astype(np.int64)] @ vector) + cross.astype(np.float32)
        if not np.isfinite(scores).all():
            raise ValueError("a score is not a finite number: the model or an item vector is damaged, train again")
        ranked.append([{"item_id": ids[at], "score": scores[at]} for at in top_k(scores, ids, k)])
    return pa.array(ranked, RANKED)


def query_features(requests: Requests, spec: FeatureSpec, matrix: ItemMatrix) -> QueryFeatures:
    """The query side (R,) built exactly as training builds it."""
    keys = requests.strings("query_key")
    known = [{value: index for index, value in enumerate(values)} for values in spec.segments.values()]
    values = requests.batch["segment_values"].to_pylist()
    segments = np.array([[table.get(v or "", 0) for table, v in zip(known, row, strict=True)] for row in values])
    return spec.query_features(
        text=spec.query_text(keys, keys),
        query_id=spec.query_ids(keys),
        segments=segments.reshape(len(keys), len(known)).astype(np.int32),
        history=_history(requests, spec.history_length),
        best=_best(requests, QUERY_ITEMS_LENGTH),
        items=item_table(matrix.buckets),
    )


def _history(requests: Requests, length: int) -> HistoryRows:
    items, actions, ages = (requests.lists(name) for name in ("history_rows", "history_actions", "history_ages"))
    shape = (len(items), length)
    rows = HistoryRows(
        np.zeros(shape, np.int32), np.zeros(shape, np.int8), np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    )
    for number, (item, action, age) in enumerate(zip(items, actions, ages, strict=True)):
        size = min(len(item), length)
        rows.items[number, :size], rows.actions[number, :size] = item[:size], action[:size]
        rows.age_seconds[number, :size], rows.valid[number, :size] = age[:size], True
    return rows


def _best(requests: Requests, length: int) -> npt.NDArray[np.int32]:
    lists = requests.lists("best_rows")
    rows = np.full((len(lists), length), -1, dtype=np.int32)
    for number, items in enumerate(lists):
        rows[number, : len(items)] = items[:length]
    return rows
