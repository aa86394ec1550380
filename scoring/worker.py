"""What an executor does with a batch of requests, from Arrow to Arrow: rows, scores, the best k. No Spark in here.

A request arrives as one row with its candidates as a list; only its best items and some counts leave.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from models.fusion import LinearFusionRanker
from models.model_dir import LoadedModel
from scoring.cross_lists import CrossLayout, CrossScatter
from scoring.item_matrix import ItemMatrix, as_tensor
from scoring.pair_scores import dot_scores, model_scores
from scoring.query_side import encode_queries, query_features
from scoring.topk import Best, best_of, sort_keys

RANKED = pa.list_(pa.struct([("item_id", pa.string()), ("score", pa.float32())]))
#: Of a request: distinct candidates; of these unknown to the catalogue, and without a finite score; repeats.
COUNTS = ("pairs", "unknown_items", "nan_pairs", "duplicates")

#: The candidates (R,) of a batch of requests, as lists of the xxhash64 of item ids (see candidate_files.hashed_lists).
ListsOf = Callable[[pa.RecordBatch], pa.ListArray]


@dataclass(frozen=True)
class Limits:
    """What a worker holds at once, and what it keeps."""

    top_k: int
    requests: int
    """Requests that the query tower sees together."""
    pairs: int = 1 << 18
    """Pairs that are scored together, unless one request has more."""


@dataclass(frozen=True)
class Pairs:
    """P pairs with items of one shard, request by request."""

    rows: npt.NDArray[np.int32]  # (P,)
    lengths: npt.NDArray[np.int64]  # (R,)
    asked: npt.NDArray[np.int64]  # (R,) distinct candidates that this shard answers for
    unknown: npt.NDArray[np.int64]  # (R,) of these unknown to the catalogue
    repeats: npt.NDArray[np.int64]  # (R,) of unknown ones


class Worker:
    """Ranks batches with one model over one shard of one matrix."""

    def __init__(
        self, loaded: LoadedModel, layout: CrossLayout, matrix: ItemMatrix, limits: Limits,
        device: torch.device, shard: int = 0,
    ):  # fmt: skip
        self.model, self.spec = loaded.model.to(device), loaded.card.spec
        self.layout, self.matrix, self.limits, self.device = layout, matrix, limits, device
        self.shard, self.start = shard, matrix.starts[shard]
        self.end = matrix.starts[shard + 1]
        self.vectors = as_tensor(matrix.shards[shard]).to(device)
        self._scatter = CrossScatter(layout, len(matrix))

    def rank(
        self, batches: Iterable[pa.RecordBatch], kept: tuple[str, ...], lists_of: ListsOf
    ) -> Iterator[pa.RecordBatch]:
        """Of each batch its columns ``kept``, ``ranked`` (see RANKED) and COUNTS, request by request."""
        for batch in batches:
            for low in range(0, len(batch), self.limits.requests):
                part = batch.slice(low, self.limits.requests)
                with torch.inference_mode():
                    q = encode_queries(self.model, query_features(part, self.spec, self.matrix), self.limits.requests)
                lists = lists_of(part)
                for some in _blocks(lists, self.limits.pairs):
                    ranked, counts = self._ranked(part.slice(some.start, len(some)), lists.slice(some.start, len(some)),
                                                  q[some.start : some.stop])  # fmt: skip
                    columns = [*(part[name].slice(some.start, len(some)) for name in kept), ranked, *counts]
                    yield pa.RecordBatch.from_arrays(columns, names=[*kept, "ranked", *COUNTS])

    def _ranked(self, part: pa.RecordBatch, lists: pa.ListArray, q: torch.Tensor) -> tuple[pa.Array, list[pa.Array]]:
        pairs = self._pairs(lists)
        scores = self._scores(part, pairs, q)
        keys = sort_keys(scores, pairs.rows)
        best = best_of(keys, pairs.lengths, self.limits.top_k)
        bad = ~np.isfinite(scores)
        nan, again = _bad_pairs(pairs, bad)
        repeats = pairs.repeats + best.repeated + again
        counts = [pairs.asked - best.repeated - again, pairs.unknown, nan, repeats]
        return _as_lists(best, self.matrix.ids), [pa.array(count, pa.int64()) for count in counts]

    def _pairs(self, lists: pa.ListArray) -> Pairs:
        offsets = lists.offsets.to_numpy().astype(np.int64)
        hashes = lists.values.to_numpy()[offsets[0] : offsets[-1]]
        rows, lengths = self.matrix.rows_of_hashes(hashes), np.diff(offsets)
        mine = (rows >= self.start) & (rows < self.end)
        zeros = np.zeros(len(lengths), dtype=np.int64)
        if mine.all():
            return Pairs(rows, lengths, lengths, zeros, zeros)
        request = np.repeat(np.arange(len(lengths)), lengths)
        held = np.bincount(request[mine], minlength=len(lengths))
        unknown, repeats = zeros, zeros
        lost = rows < 0
        if self.shard == 0 and lost.any():  # one shard speaks for what none of them holds
            unknown = _distinct(request[lost], hashes[lost], len(lengths))
            repeats = np.bincount(request[lost], minlength=len(lengths)) - unknown
        return Pairs(rows[mine], held, held + unknown, unknown, repeats)

    def _scores(self, part: pa.RecordBatch, pairs: Pairs, q: torch.Tensor) -> npt.NDArray[np.float32]:
        """(P,) float32."""
        cross = self._cross(part, pairs)
        rows = torch.from_numpy(pairs.rows.astype(np.int64) - self.start).to(self.device)
        lengths = torch.from_numpy(pairs.lengths).to(self.device)
        with torch.inference_mode():
            if isinstance(self.model, LinearFusionRanker):
                weighted = q * self.model.fusion_layer.dot_weight()
                extra = torch.from_numpy(cross).to(self.device)
                scores = dot_scores(weighted, self.vectors, rows, lengths, extra)
            else:
                scores = model_scores(self.model, q, self.vectors, rows, lengths, cross)
        found: npt.NDArray[np.float32] = scores.float().cpu().numpy()
        return found

    def _cross(self, part: pa.RecordBatch, pairs: Pairs) -> npt.NDArray[np.float32]:
        linear = self.layout.constant is not None
        look_up = self._scatter.folded if linear else self._scatter.features
        packed = part["lists"]
        rates = part["rates"]
        width = len(self.layout.segments)
        values = packed.values.slice(packed.offsets[0].as_py())
        edges = np.append(0, np.cumsum(pairs.lengths)).tolist()
        out = np.zeros(len(pairs.rows) if linear else (len(pairs.rows), self.layout.width), dtype=np.float32)
        for number, (low, high) in enumerate(pairwise(edges)):
            if high > low:
                lists = [_bytes(values[number * width + segment]) for segment in range(width)]
                out[low:high] = look_up(pairs.rows[low:high], lists, _bytes(rates[number]))
        return out


def _bytes(value: pa.Scalar) -> memoryview | None:
    return memoryview(value.as_buffer()) if value.is_valid else None


def _blocks(lists: pa.ListArray, most: int) -> Iterator[range]:
    """Consecutive requests with at most so many pairs together, or one with more."""
    lengths = np.diff(lists.offsets.to_numpy().astype(np.int64)).tolist()
    start, pairs = 0, 0
    for number, length in enumerate(lengths):
        if number > start and pairs + length > most:
            yield range(start, number)
            start, pairs = number, 0
        pairs += length
    if lengths:
        yield range(start, len(lengths))


def _bad_pairs(pairs: Pairs, bad: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Per request (R,): distinct pairs without a finite score, and their repeats."""
    zeros = np.zeros(len(pairs.lengths), dtype=np.int64)
    if not bad.any():
        return zeros, zeros
    request = np.repeat(np.arange(len(pairs.lengths)), pairs.lengths)[bad]
    nan = _distinct(request, pairs.rows[bad], len(zeros))
    return nan, np.bincount(request, minlength=len(zeros)) - nan


def _distinct(requests: npt.NDArray[np.int64], items: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    """How many different items each of ``count`` requests has among pairs (n,)."""
    order = np.lexsort((items, requests))
    requests, items = requests[order], items[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (requests[1:] != requests[:-1]) | (items[1:] != items[:-1])
    return np.bincount(requests[first], minlength=count)


def _as_lists(best: Best, ids: pa.StringArray) -> pa.ListArray:
    offsets = pa.array(np.append(0, np.cumsum(best.counts)), pa.int32())
    entries = pa.StructArray.from_arrays(
        [ids.take(pa.array(best.rows)), pa.array(best.scores, pa.float32())], fields=list(RANKED.value_type)
    )
    return pa.ListArray.from_arrays(offsets, entries)
