"""The query side of a batch of requests: what a query tower sees, built exactly as training builds it."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from etl.contract.manifest import QUERY_ITEMS_LENGTH
from models.contract import ItemFeatures, QueryFeatures, Ranker
from models.features import FeatureSpec, HistoryRows
from models.fusion import LinearFusionRanker
from scoring.item_matrix import ItemMatrix

Int64 = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]
#: What vector units and matrix kernels take at once divides it.
_ROWS = 64


def query_features(batch: pa.RecordBatch, spec: FeatureSpec, matrix: ItemMatrix) -> QueryFeatures:
    """Of R requests: query_key, segment_values, and lists of items, ``history`` latest first with ``history_actions``
    and ``history_ages``, ``best`` best first; each as ``<list>_items``, xxhash64 of ids, and ``<list>_ids``, buckets.

    An item that the matrix does not hold is known by its id's bucket alone, as in training.
    """
    keys: list[str] = batch["query_key"].to_pylist()
    known = [{value: index for index, value in enumerate(values)} for values in spec.segments.values()]
    values = batch["segment_values"].to_pylist()
    segments = np.array([[table.get(v or "", 0) for table, v in zip(known, row, strict=True)] for row in values])
    history = _history(batch, spec.history_length, matrix)
    best = _lists(batch, "best", QUERY_ITEMS_LENGTH, matrix)[0]
    rows, table = _used(history.items, best, matrix)
    return spec.query_features(
        text=spec.query_text(keys, keys),
        query_id=spec.query_ids(keys),
        segments=segments.reshape(len(keys), len(known)).astype(np.int32),
        history=HistoryRows(rows[0], history.actions, history.age_seconds, history.valid),
        best=np.where(best >= 0, rows[1], -1),
        items=table,
    )


def encode_queries(model: Ranker, queries: QueryFeatures, size: int) -> Tensor:
    """The query side (R, X) of R <= ``size`` requests; where the fusion is linear the one blended vector (R, D).

    Padded to ``size`` requests, and that to whole ``_ROWS``: a request's last bits then depend neither on its place
    among others nor on their number (see pair_scores.in_full_blocks).
    """
    count = len(queries)
    padded = -(-size // _ROWS) * _ROWS
    order = torch.cat([torch.arange(count), torch.zeros(padded - count, dtype=torch.int64)])
    device = model.head_weights.device
    encode = model.blended_query if isinstance(model, LinearFusionRanker) else model.encode_query
    return encode(queries.take(order).to(device))[:count]


def _history(batch: pa.RecordBatch, length: int, matrix: ItemMatrix) -> HistoryRows:
    rows, at, taken = _lists(batch, "history", length, matrix)
    shape = rows.shape
    actions, ages = np.zeros(shape, np.int8), np.zeros(shape, np.int64)
    actions[at] = _flat(batch["history_actions"])[0][taken]
    ages[at] = _flat(batch["history_ages"])[0][taken]
    valid = rows >= 0
    return HistoryRows(np.where(valid, rows, 0), actions, ages, valid)


def _lists(batch: pa.RecordBatch, name: str, length: int, matrix: ItemMatrix) -> tuple[Rows, Any, Int64]:
    """Rows (R, length) of listed items, -1 for none; where they stand in it; which of the flat values they are.

    A row past the matrix is that of an item which it does not hold, see ``_buckets``.
    """
    (hashes, lengths), (ids, _) = (_flat(batch[f"{name}_{part}"]) for part in ("items", "ids"))
    found = matrix.rows_of_hashes(hashes.astype(np.int64, copy=False))
    request = np.repeat(np.arange(len(lengths)), lengths)
    place: Int64 = np.arange(len(request)) - (np.cumsum(lengths) - lengths)[request]
    taken = np.flatnonzero(place < length)
    rows = np.full((len(lengths), length), -1, dtype=np.int32)
    at = (request[taken], place[taken])
    rows[at] = np.where(found >= 0, found, len(matrix) + ids.astype(np.int32, copy=False))[taken]
    return rows, at, taken


def _flat(column: pa.ListArray) -> tuple[npt.NDArray[Any], Int64]:
    """All values of a list column, and the lists' lengths (R,)."""
    offsets = column.offsets.to_numpy().astype(np.int64)
    return column.values.to_numpy(zero_copy_only=False)[offsets[0] : offsets[-1]], np.diff(offsets)


def _used(history: Rows, best: Rows, matrix: ItemMatrix) -> tuple[list[Rows], ItemFeatures]:
    """The same rows numbered anew, in a table of only those items that any request lists."""
    flat = np.concatenate([history.ravel(), np.maximum(best, 0).ravel()])
    used, numbers = np.unique(flat, return_inverse=True)
    cut = history.size
    parts = [
        part.astype(np.int32) for part in (numbers[:cut].reshape(history.shape), numbers[cut:].reshape(best.shape))
    ]
    return parts, item_table(_buckets(used, matrix))


def _buckets(rows: Rows, matrix: ItemMatrix) -> npt.NDArray[np.int32]:
    """(n, 1+K) of rows, those of the matrix and behind them one for each bucket of an id, without categories."""
    held = rows < len(matrix)
    buckets = np.zeros((len(rows), matrix.buckets.shape[1]), dtype=np.int32)
    buckets[held] = matrix.buckets[rows[held]]
    buckets[~held, 0] = rows[~held] - len(matrix)
    return buckets


def item_table(buckets: npt.NDArray[np.int32]) -> ItemFeatures:
    """The part of item features that a query tower looks up for its lists."""
    rows = len(buckets)
    copied = torch.from_numpy(np.array(buckets))
    return ItemFeatures(
        text=torch.zeros(rows, 0, dtype=torch.int32),
        item_id=copied[:, 0],
        categories=copied[:, 1:],
        numerics=torch.zeros(rows, 0),
        dense=torch.zeros(rows, 0),
    )
