"""Smoothed rates: actions per impression, each level pulled towards the next coarser one.

Every level counts as if it had seen ``strength`` more impressions at its parent's rate, so that a thin level says what
its parent says::

    global         A / I over all queries
    query          (A(q)      + k * global) / (I(q)      + k)
    query tokens   (A(t, i)   + k * query)  / (I(t, i)   + k)   summed over the query's distinct words t
    pair           (A(q, i)   + k * tokens) / (I(q, i)   + k)
    segment        (A(q, i|s) + k * pair)   / (I(q, i|s) + k)

The rate of a row under (all, '') is its pair's, that of another segment its segment's. All sums are whole numbers, so a
rate does not depend on the order of rows. Without an action called ``impression`` every rate is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.contract import columns as c
from etl.kernels.codes import Floats, Ints, codes_of

#: Columns that rows of pairs bring for this step: the rate of their query, and whether they are rows of the table.
QUERY_RATE, KEPT = "query_rate", "kept"


@dataclass(frozen=True)
class Priors:
    """Where the chain begins, per ds."""

    rate: dict[str, Floats]  # (A, W) actions per impression over all queries
    strength: dict[str, Floats]  # (A,) in impressions


def pulled(done: Ints, shown: Ints, parent: Floats, strength: Floats) -> Floats:
    """(N, A, W) rates of a level from its counts (N, A, W), impressions (N, W), and its parent's rates."""
    weight = strength[:, :, None]
    return (done + weight * parent) / (shown[:, None, :] + weight)


def rates_of(table: pa.Table, actions: Sequence[str], windows_days: Sequence[int], priors: Priors) -> pa.Table:
    """The rows of ``table``, which holds all pairs of its items, with their rates (N, A, W) in column names."""
    ds, days = codes_of(table["ds"])
    counts = _cells(table, actions, windows_days)
    if c.IMPRESSION in actions:
        strength = np.stack([priors.strength[day] for day in days.to_pylist()])[ds]
        rates = _chain(table, ds, counts, actions.index(c.IMPRESSION), strength)
    else:
        rates = np.zeros(counts.shape)
    rows = table.drop_columns([QUERY_RATE])
    for place, action in enumerate(actions):
        for window, days_ in enumerate(windows_days):
            rows = rows.append_column(c.window_rate(action, days_), pa.array(rates[:, place, window]))
    return rows


def kept_rows(table: pa.Table) -> pa.Table:
    """The rows of the windowed table, without those that only others needed."""
    return table.filter(table[KEPT]).drop_columns([KEPT])


def _cells(table: pa.Table, actions: Sequence[str], windows_days: Sequence[int]) -> Ints:
    """(N, A, W) window counts."""
    columns = [table[c.window_count(action, days)].to_numpy() for action in actions for days in windows_days]
    return np.stack(columns, axis=1).reshape(-1, len(actions), len(windows_days))


def _chain(table: pa.Table, ds: Ints, counts: Ints, impression: int, strength: Floats) -> Floats:
    item, items = codes_of(table["item_id"])
    query, queries = codes_of(table["query_key"])
    everyone = pc.equal(table["segment_name"], c.ALL_SEGMENT).to_numpy()
    pairs = np.flatnonzero(everyone)
    of_item = ds * len(items) + item
    tokens = token_counts(of_item[pairs], query[pairs], queries, counts[pairs])
    of_query = pc.list_flatten(table[QUERY_RATE]).to_numpy().reshape(-1, *counts.shape[1:])
    rate = pulled(tokens, tokens[:, impression], of_query, strength[pairs])
    rate = pulled(counts[pairs], counts[pairs, impression], rate, strength[pairs])
    key = of_item * len(queries) + query
    order = np.argsort(key[pairs])
    of_pair = rate[order[np.searchsorted(key[pairs], key, sorter=order)]]
    of_segment = pulled(counts, counts[:, impression], of_pair, strength)
    return np.where(everyone[:, None, None], of_pair, of_segment)


def token_counts(item: Ints, query: Ints, queries: pa.Array, counts: Ints) -> Ints:
    """(N, ...) per row the counts of its item under any query that shares a word, once per shared word.

    ``query`` (N,) are places in ``queries``; a word that a query repeats counts once.
    """
    split = pc.split_pattern(queries, " ")
    word, words = codes_of(split.flatten())
    lengths = pc.list_value_length(split).to_numpy(zero_copy_only=False)
    pairs = np.unique(np.repeat(np.arange(len(queries)), lengths) * len(words) + word)
    of_query, word = np.divmod(pairs, len(words))
    starts = np.searchsorted(of_query, np.arange(len(queries) + 1))
    many = np.diff(starts)[query]
    row = np.repeat(np.arange(len(query)), many)
    place = np.arange(len(row)) - np.repeat(np.cumsum(many) - many, many)
    token = word[starts[query][row] + place]
    _, group = np.unique(item[row] * len(words) + token, return_inverse=True)
    flat = counts.reshape(len(query), -1)
    summed = np.empty_like(flat)
    for cell in range(flat.shape[1]):
        of_group = np.bincount(group, weights=flat[row, cell])
        summed[:, cell] = np.bincount(row, weights=of_group[group], minlength=len(query))
    return summed.reshape(counts.shape)
