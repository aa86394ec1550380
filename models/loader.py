"""Batches of whole requests, gathered from arrays: no Python per row."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

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

    def queries(self, rows: Rows, requests: npt.NDArray[np.int64]) -> QueryFeatures:
        """Features of the given requests of a split (R,)."""
        history = self.export.histories.last(
            rows.user[requests], rows.history_end[requests], rows.ts[requests], self.spec.history_length
        )
        segments = np.zeros((len(requests), len(self.segment_maps)), dtype=np.int32)
        for index, known in enumerate(self.segment_maps):
            segments[:, index] = known[rows.segments[requests, index]]
        query = rows.query[requests]
        return self.spec.query_features(self.query_text[query], self.query_id[query], segments, history, self.items)


class RequestLoader:
    """``len(loader)`` batches of ``batch_requests`` whole requests each (the last may be smaller)."""

    def __init__(self, tables: FeatureTables, rows: Rows, batch_requests: int):
        self.tables, self.rows, self.batch_requests = tables, rows, batch_requests

    def __len__(self) -> int:
        return -(-self.rows.requests // self.batch_requests)

    def in_order(self) -> Iterator[Batch]:
        """Every row once, in the order of the split."""
        yield from self._batches(np.arange(self.rows.requests))

    def shuffled(self, seed: int, epoch: int) -> Iterator[Batch]:
        """Every row once, requests in an order that depends on (seed, epoch) only."""
        generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
        yield from self._batches(generator.permutation(self.rows.requests))

    def _batches(self, order: npt.NDArray[np.int64]) -> Iterator[Batch]:
        for start in range(0, len(order), self.batch_requests):
            yield self.batch(order[start : start + self.batch_requests])

    def batch(self, requests: npt.NDArray[np.int64]) -> Batch:
        """The batch of the given requests (R,)."""
        rows = self.rows
        at, pair_query = ragged_rows(rows.starts, requests)
        items, pair_item = np.unique(rows.item[at], return_inverse=True)
        item_features: ItemFeatures = self.tables.items.take(torch.from_numpy(items.astype(np.int64)))
        return Batch(
            queries=self.tables.queries(rows, requests),
            items=item_features,
            pair_query=torch.from_numpy(pair_query),
            pair_item=torch.from_numpy(pair_item.astype(np.int64)),
            cross=torch.from_numpy(rows.cross[at]),
            labels=torch.from_numpy(rows.labels[at].astype(np.float32)),
            weight=torch.from_numpy(rows.weight[at]),
            rows=torch.from_numpy(at),
        )


def ragged_rows(
    starts: npt.NDArray[np.int64], groups: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions of all rows of the chosen groups, and for each the index of its group in ``groups``."""
    sizes = starts[groups + 1] - starts[groups]
    owner = np.repeat(np.arange(len(groups)), sizes)
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return starts[groups][owner] + within, owner
