"""Rows of partials to numbered pairs.

A row says of a pair, under one segment and over some days (a *part*), how often each action happened. Every row becomes
an entry of its pair, pairs numbered in the order of (query, segment, item).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from etl.contract import columns as c
from etl.kernels.blobs import PART
from etl.kernels.codes import Ints, changes, codes_of


@dataclass(frozen=True)
class Pairs:
    """P pairs under Q owners (a query and a segment), in the order of (query, segment, item)."""

    owners: pa.Table
    """Q rows: query_key, segment_name, segment_value."""
    owner: Ints  # (P,)
    item: Ints  # (P,) index into items
    items: pa.Array

    def __len__(self) -> int:
        return len(self.owner)

    def columns(self, chosen: Ints) -> dict[str, pa.Array]:
        """The key columns of some pairs."""
        owner = self.owner[chosen]
        names = {name: self.owners[name].combine_chunks().take(owner) for name in c.QUERY_KEY}
        return {"query_key": names["query_key"], "item_id": self.items.take(self.item[chosen]),
                **{name: names[name] for name in c.SEGMENT_KEY}}  # fmt: skip


@dataclass(frozen=True)
class Entries:
    """N entries: what a part says of a pair. Those of a pair stand in the order of the parts."""

    pairs: Pairs
    pair: Ints  # (N,)
    part: Ints  # (N,)
    columns: dict[str, pa.Array]
    """The figures, N values each."""

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """(N,) figures; 0 where a part has none."""
        return self.columns[name].fill_null(0).to_numpy(zero_copy_only=False)


def entries_of(table: pa.Table, parts: int, figures: Sequence[str]) -> Entries:
    """The entries of rows in any order, each of one of so many ``parts``, which are numbered in the order of time."""
    query, queries = codes_of(table["query_key"])
    name, names = codes_of(table["segment_name"])
    value, values = codes_of(table["segment_value"])
    item, items = codes_of(table["item_id"])
    part = table[PART].to_numpy().astype(np.int64)
    whole, owner = np.unique((query * len(names) + name) * len(values) + value, return_inverse=True)
    order = np.argsort((owner * len(items) + item) * parts + part, kind="stable")
    owner, item = owner[order], item[order]
    first = changes(owner * len(items) + item)
    owner, item = owner[first], item[first]
    rest, value = np.divmod(whole, max(1, len(values)))
    query, name = np.divmod(rest, max(1, len(names)))
    owners = pa.table({"query_key": queries.take(query), "segment_name": names.take(name),
                       "segment_value": values.take(value)})  # fmt: skip
    pairs = Pairs(owners, owner, item, items)
    columns = {figure: table[figure].combine_chunks().take(order) for figure in figures}
    return Entries(pairs, np.cumsum(first) - 1, part[order], columns)
