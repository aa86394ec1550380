"""Batches of whole requests, gathered from arrays: no Python per row.

A batch is a function of its step alone: requests in the order of (seed, epoch), cut into steps, each step cut among
the ranks. So any number of ranks and threads sees the same order, and a position in it is one number.
"""

import copy
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from etl.contract.manifest import QUERY_ITEMS_LENGTH
from models.contract import Batch, ItemFeatures, QueryFeatures
from models.dataset import Export, Rows
from models.features import FeatureSpec


class FeatureTables:
    """An export's items and queries, hashed once for one feature contract."""

    def __init__(self, spec: FeatureSpec, export: Export):
        spec.check(export.manifest)
        items = export.items
        self.spec, self.export = spec, export
        self.items = spec.item_features(items.item_id, items.text, items.categories, items.numerics, items.dense)
        keys, texts = export.queries
        self.query_text = spec.query_text(keys, texts)
        self.query_id = spec.query_ids(keys)
        self.segment_maps = spec.segment_maps(export.manifest)

    def seen_as(self, spec: FeatureSpec, export: Export) -> "FeatureTables":
        """The same tables for a contract that differs in cross features only, over a view of the export."""
        spec.check(export.manifest)
        tables = copy.copy(self)
        tables.spec, tables.export = spec, export
        return tables

    @cached_property
    def item_number(self) -> npt.NDArray[np.int64]:
        """(items,) the same number for all versions of an item."""
        return pa.array(self.export.items.item_id, pa.string()).dictionary_encode().indices.to_numpy().astype(np.int64)

    def queries(self, rows: Rows, requests: npt.NDArray[np.int64]) -> QueryFeatures:
        """Features of the given requests of a split (R,)."""
        history = self.export.histories.last(
            rows.user[requests], rows.history_end[requests], rows.ts[requests], self.spec.history_length
        )
        segments = np.zeros((len(requests), len(self.segment_maps)), dtype=np.int32)
        for index, known in enumerate(self.segment_maps):
            segments[:, index] = known[rows.segments[requests, index]]
        best = self.export.query_items.first(rows.query_items[requests], QUERY_ITEMS_LENGTH)
        query = rows.query[requests]
        return self.spec.query_features(
            self.query_text[query], self.query_id[query], segments, history, best, self.items
        )


class RequestLoader:
    """``len(loader)`` steps of ``batch_requests`` whole requests each (the last may be smaller).

    Rank ``rank`` of ``ranks`` gets its part of every step, which is empty where a last step has fewer requests than
    there are ranks.
    """

    def __init__(self, tables: FeatureTables, rows: Rows, batch_requests: int, rank: int = 0, ranks: int = 1):
        self.tables, self.rows, self.batch_requests = tables, rows, batch_requests
        self.rank, self.ranks = rank, ranks

    def __len__(self) -> int:
        return -(-self.rows.requests // self.batch_requests)

    def in_order(self) -> Iterator[Batch]:
        """Every row once, in the order of the split."""
        order = np.arange(self.rows.requests)
        return (self.step(order, step) for step in range(len(self)))

    def order(self, seed: int, epoch: int) -> npt.NDArray[np.int64]:
        """All requests, in an order that depends on (seed, epoch) only."""
        generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
        return generator.permutation(self.rows.requests)

    def step(self, order: npt.NDArray[np.int64], step: int) -> Batch:
        """This rank's part of a step of an epoch in ``order``."""
        requests = order[step * self.batch_requests : (step + 1) * self.batch_requests]
        if self.ranks == 1:
            return self.batch(requests)
        return self.batch(np.array_split(requests, self.ranks)[self.rank], of_step=requests)

    def batch(self, requests: npt.NDArray[np.int64], of_step: npt.NDArray[np.int64] | None = None) -> Batch:
        """The batch of the given requests (R,); its totals are those of the requests ``of_step``."""
        rows, tables = self.rows, self.tables
        at, pair_query = ragged_rows(rows.starts, requests)
        labels, weight = rows.labels[at], rows.weight[at]
        of_all = (labels, weight)
        if of_step is not None:
            whole = ragged_rows(rows.starts, of_step)[0]
            of_all = (rows.labels[whole], rows.weight[whole])
        items, pair_item = np.unique(rows.item[at], return_inverse=True)
        item_row = torch.from_numpy(items.astype(np.int64))
        item_features: ItemFeatures = tables.items.take(item_row)
        return Batch(
            queries=tables.queries(rows, requests),
            items=item_features,
            item_row=item_row,
            item_number=torch.from_numpy(tables.item_number[items]),
            pair_query=torch.from_numpy(pair_query),
            pair_item=torch.from_numpy(pair_item.astype(np.int64)),
            cross=torch.from_numpy(rows.cross[at]),
            labels=torch.from_numpy(labels.astype(np.float32)),
            weight=torch.from_numpy(weight),
            rows=torch.from_numpy(at),
            total_weight=torch.tensor(of_all[1].sum(dtype=np.float64), dtype=torch.float32),
            total_positives=torch.tensor(float(np.count_nonzero(of_all[0])), dtype=torch.float32),
        )


def ragged_rows(
    starts: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions of all rows of the chosen groups, and for each the index of its group in ``groups``."""
    sizes = starts[groups + 1] - starts[groups]
    owner = np.repeat(np.arange(len(groups)), sizes)
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return starts[groups][owner] + within, owner
