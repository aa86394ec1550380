"""Rows of the flat layout as PyTorch's stock DataLoader takes them: one at a time, or a record batch at a time."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from torch.utils.data import IterableDataset


class FlatRows(IterableDataset[dict[str, Any]]):
    """One sample a row, as most readers of Parquet feed the stock collate function."""

    def __init__(self, path: Path, rows: int):
        self.path, self.rows = path, rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for columns in _record_batches(self.path, self.rows):
            for row in range(len(columns["weight"])):
                yield {name: values[row] for name, values in columns.items()}


class FlatBatches(IterableDataset[dict[str, Any]]):
    """One sample a record batch, of some columns or all: the best that a stock loader can do, without a shuffle."""

    def __init__(self, path: Path, rows: int, columns: Sequence[str] | None = None):
        self.path, self.rows, self.columns = path, rows, columns

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for columns in _record_batches(self.path, self.rows, self.columns):
            yield {name: torch.from_numpy(values) for name, values in columns.items()}


def _record_batches(path: Path, rows: int, names: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    file, info = pq.ParquetFile(path), torch.utils.data.get_worker_info()
    groups = range(file.num_row_groups) if info is None else range(info.id, file.num_row_groups, info.num_workers)
    for batch in file.iter_batches(rows, row_groups=list(groups), columns=names):
        columns = {}
        for name in batch.schema.names:
            column = batch.column(name)
            if hasattr(column, "flatten"):
                columns[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1).copy()
            else:
                columns[name] = column.to_numpy(zero_copy_only=False).copy()
        yield columns
