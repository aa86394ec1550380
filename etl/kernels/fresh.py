"""Shares among fresh items: those that the longest window first saw less than so many days ago, under any query.

Over the same window, action and segment: C(q, i) / sum of C(q, j) over the fresh items j of the query; 0 for an item
that is not fresh.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from etl.contract import columns as c
from etl.kernels.codes import codes_of

#: Whether a pair was seen before its item could be fresh; whether an item is fresh.
OLD, FRESH = "old", "fresh"


def with_fresh(table: pa.Table) -> pa.Table:
    """``fresh`` instead of ``old``, for rows that hold every query of their items."""
    ds, _ = codes_of(table["ds"])
    item, items = codes_of(table["item_id"])
    of_item = ds * max(1, len(items)) + item
    old = np.bincount(of_item, weights=table[OLD].to_numpy())
    return table.drop_columns([OLD]).append_column(FRESH, pa.array(old[of_item] == 0))


def with_fresh_shares(table: pa.Table, actions: Sequence[str], windows_days: Sequence[int]) -> pa.Table:
    """The shares instead of ``fresh``, for rows that hold every item of their queries, kept or not."""
    fresh = table[FRESH].to_numpy()
    owner = np.zeros(table.num_rows, dtype=np.int64)
    for name in ("ds", *c.QUERY_KEY):
        code, values = codes_of(table[name])
        owner = owner * max(1, len(values)) + code
    _, owner = np.unique(owner, return_inverse=True)
    table = table.drop_columns([FRESH])
    for action in actions:
        for days in windows_days:
            counts = np.where(fresh, table[c.window_count(action, days)].to_numpy(), 0)
            whole = np.bincount(owner, weights=counts)[owner] if len(owner) else counts
            shares = np.divide(counts, whole, out=np.zeros(len(counts)), where=whole > 0)
            table = table.append_column(c.window_fresh_share(action, days), pa.array(shares))
    return table
