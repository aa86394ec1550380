"""Packed rows to numbered pairs.

A packed row is one query under one segment over some days (a *part*): its items and their figures as lists of one
length. All lists of a table are flattened into entries; each entry belongs to one pair, a number in the order of
(query, segment, item).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from etl.contract import columns as c
from etl.contract.dates import DateRange, day_number
from etl.kernels.batches import codes_of, group_starts

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

ITEMS = "items"
#: The days that a packed row is of.
FIRST_DAY, DAYS = "first_day", "days"


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
    """The flattened lists of figures, N values each."""

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """(N,) figures; 0 where a part has none."""
        return self.columns[name].fill_null(0).to_numpy(zero_copy_only=False)


def entries_of(table: pa.Table, parts: Sequence[DateRange], figures: Sequence[str]) -> Entries:
    """Flatten packed rows that are sorted by (query, segment, first day, days) and of ``parts`` only."""
    starts = group_starts(table, c.QUERY_KEY)
    row_owner = np.repeat(np.arange(len(starts)), np.diff([*starts, table.num_rows]))
    lists = table[ITEMS].combine_chunks()
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    entry_owner = np.repeat(row_owner, lengths)
    item, items = codes_of(lists.flatten())
    key, pair = np.unique(entry_owner * max(1, len(items)) + item, return_inverse=True)
    owner, item = np.divmod(key, max(1, len(items)))
    pairs = Pairs(table.select(c.QUERY_KEY).take(starts), owner, item, items)
    columns = {name: table[name].combine_chunks().flatten() for name in figures}
    return Entries(pairs, pair, np.repeat(_part_of_row(table, parts), lengths), columns)


def _part_of_row(table: pa.Table, parts: Sequence[DateRange]) -> Ints:
    numbers = {(day_number(part.start), len(part)): index for index, part in enumerate(parts)}
    first, days = (table[name].to_numpy() for name in (FIRST_DAY, DAYS))
    # Few distinct parts among many rows.
    known, row = np.unique(first.astype(np.int64) * 1000 + days, return_inverse=True)
    return np.array([numbers[divmod(int(code), 1000)] for code in known], dtype=np.int64)[row]
