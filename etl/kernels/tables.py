"""The two tables that partials become: the windows of a day, and a tile."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.kernels.codes import Floats, Ints
from etl.kernels.daily import MILLION, acted
from etl.kernels.fresh import OLD
from etl.kernels.pairs import Entries, Pairs, entries_of
from etl.kernels.rates import KEPT, QUERY_RATE, Priors, pulled
from etl.kernels.support import best_items
from etl.kernels.users import hashes_of, merged_sketches, users_by_window
from etl.kernels.windows import Reach, decayed_sum, seen, seen_before, window_counts
from etl.tiles import cover

HeavyTotals: TypeAlias = dict[tuple[str, str, str, str], Ints]
"""(ds, query_key, segment_name, segment_value) -> (A, W) counts of the whole query."""

ENGAGEMENT = "engagement"


@dataclass(frozen=True)
class Figures:
    """Which figures of a pair are computed."""

    actions: tuple[str, ...]
    windows_days: tuple[int, ...]
    edges_days: tuple[int, ...]
    """The windows, and what else a sum of whole parts ends at."""
    half_lives_days: tuple[int, ...]
    shares: bool = False
    users: bool = False
    rates: bool = False
    debiased: bool = False
    fresh_days: int | None = None

    @property
    def columns(self) -> list[str]:
        """The columns of partials that they are summed from."""
        sketch = [c.USERS_SKETCH] if self.users else []
        expected = [c.expected(action) for action in acted(self.actions)] if self.debiased else []
        return [*map(c.count, self.actions), *expected, *self.decays, *sketch]

    @property
    def across_items(self) -> bool:
        """Whether a pair's row needs what other queries have of its item."""
        return self.rates or self.fresh_days is not None

    @property
    def decays(self) -> list[str]:
        return [c.decayed(action, half_life) for action in self.actions for half_life in self.half_lives_days]


@dataclass(frozen=True)
class Support:
    """Which pairs are kept."""

    engagement: tuple[str, ...]
    """Decay columns whose sum says how good an item is for its query."""
    min_users: int
    top_items: int


def windows_of(
    table: pa.Table, parts: Sequence[DateRange], days: DateRange, figures: Figures, support: Support,
    priors: Priors | None = None, heavy: HeavyTotals | None = None,
) -> Iterator[pa.Table]:  # fmt: skip
    """For each ds of ``days`` the rows of ``interactions`` of the queries in ``table``, which holds them whole.

    Rows of ``table`` are of ``parts``, which stand in the order of time, and come in any order.

    Where a row needs what other queries have of its item, all pairs come, kept or not, with what etl.kernels.rates and
    etl.kernels.fresh go on from. ``priors`` are for rates and for what is without the position's part. Queries in
    ``heavy`` may be there in part: their totals are given, and ``engagement`` comes with each row, to choose their best
    items by.
    """
    entries = entries_of(table, len(parts), figures.columns)
    windows = sorted(figures.windows_days)
    for ds in days:
        reach = Reach.of(parts, cover(ds, figures.edges_days), ds, windows)
        yield _rows(entries, reach, ds, figures, support, priors, heavy or {})


def _rows(
    entries: Entries, reach: Reach, ds: str, figures: Figures, support: Support, priors: Priors | None,
    heavy: HeavyTotals,
) -> pa.Table:  # fmt: skip
    windows, pairs = sorted(figures.windows_days), entries.pairs
    counts = np.stack([window_counts(entries, reach, c.count(action)) for action in figures.actions], axis=1)
    totals = _with_heavy(_by_owner(pairs, counts), pairs, ds, heavy)
    values: dict[str, Ints | Floats] = _cells(c.window_count, counts, figures)
    if figures.shares:
        of_owner = totals[pairs.owner]
        shares = np.divide(counts, of_owner, out=np.zeros(counts.shape), where=of_owner > 0)
        values |= _cells(c.window_share, shares, figures)
    for action in figures.actions:
        for half_life in figures.half_lives_days:
            values[c.decayed(action, half_life)] = decayed_sum(entries, reach, action, half_life)
    if figures.debiased and priors is not None:
        values |= _debiased(entries, reach, ds, counts, figures, priors)
    known = seen(entries, reach)
    kept = known.copy()
    if figures.users:
        users = users_by_window(hashes_of(entries, reach))
        values |= {c.window_users(days): users[:, place] for place, days in enumerate(windows)}
        kept &= users[:, -1] >= support.min_users
    engagement = np.zeros(len(pairs))
    for name in support.engagement:
        engagement += values[name]
    kept = best_items(pairs, engagement, kept, support.top_items)
    chosen = np.flatnonzero(known if figures.across_items else kept)
    columns = {name: pa.array(column[chosen]) for name, column in values.items()}
    if figures.across_items:
        columns[KEPT] = pa.array(kept[chosen])
    if figures.rates and priors is not None:
        columns[QUERY_RATE] = _query_rates(pairs, totals, ds, priors, figures, chosen)
    if figures.fresh_days is not None:
        columns[OLD] = pa.array(seen_before(entries, reach, figures.fresh_days)[chosen])
    if heavy:
        columns[ENGAGEMENT] = pa.array(engagement[chosen])
    return pa.table({"ds": pa.array([ds] * len(chosen), pa.string()), **pairs.columns(chosen), **columns})


def _cells(name: Callable[[str, int], str], values: Any, figures: Figures) -> dict[str, Any]:
    """(P, A, W) values by column name."""
    return {
        name(action, days): values[:, row, column]
        for row, action in enumerate(figures.actions)
        for column, days in enumerate(sorted(figures.windows_days))
    }


def _debiased(
    entries: Entries, reach: Reach, ds: str, counts: Ints, figures: Figures, priors: Priors
) -> dict[str, Floats]:
    """Actions over expected ones, pulled towards 1 as if ``strength`` more impressions had gone as all others do."""
    values: dict[str, Floats] = {}
    for action in acted(figures.actions):
        place = figures.actions.index(action)
        expected = window_counts(entries, reach, c.expected(action)) / MILLION
        usual = priors.strength[ds][place] * priors.rate[ds][place]
        done = counts[:, place] + usual
        ratio = np.divide(done, expected + usual, out=np.ones(done.shape), where=expected + usual > 0)
        values |= {c.window_debiased(action, days): ratio[:, window]
                   for window, days in enumerate(sorted(figures.windows_days))}  # fmt: skip
    return values


def _by_owner(pairs: Pairs, counts: Ints) -> Ints:
    """(Q, A, W) sums over the items of each query and segment."""
    if not len(pairs):
        return np.zeros((0, *counts.shape[1:]), dtype=np.int64)
    return np.add.reduceat(counts, np.flatnonzero(np.diff(pairs.owner, prepend=-1)), axis=0)


def _with_heavy(totals: Ints, pairs: Pairs, ds: str, heavy: HeavyTotals) -> Ints:
    """The totals of owners that this table may hold a part of, as they are given."""
    if heavy:
        keys = zip(*(pairs.owners[name].to_pylist() for name in c.QUERY_KEY), strict=True)
        for owner, key in enumerate(keys):
            totals[owner] = heavy.get((ds, *key), totals[owner])
    return totals


def _query_rates(pairs: Pairs, totals: Ints, ds: str, priors: Priors, figures: Figures, chosen: Ints) -> pa.ListArray:
    """For rows under (all, '') the rates of their query, A times W of them; empty for others."""
    shown = totals[:, figures.actions.index(c.IMPRESSION)] if c.IMPRESSION in figures.actions else totals[:, 0]
    rates = pulled(totals, shown, priors.rate[ds][None], priors.strength[ds][None])
    owner = pairs.owner[chosen]
    everyone = pc.equal(pairs.owners["segment_name"], c.ALL_SEGMENT).to_numpy()[owner]
    width = rates.shape[1] * rates.shape[2]
    offsets = np.concatenate([[0], np.cumsum(everyone * width)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, rates[owner[everyone]].ravel())


def tile_of(table: pa.Table, days: DateRange, figures: Figures) -> pa.Table:
    """Rows of ``days``, by their place in it, merged to one per pair and segment, in the columns of a partial."""
    parts = [DateRange(ds, ds) for ds in days]
    entries = entries_of(table, len(parts), figures.columns)
    reach, pairs = Reach.of(parts, parts, days.end, [len(days)]), entries.pairs
    values: dict[str, pa.Array] = {}
    for name in figures.columns:
        if name not in figures.decays and name != c.USERS_SKETCH:
            values[name] = pa.array(window_counts(entries, reach, name)[:, 0])
    for action in figures.actions:
        for half_life in figures.half_lives_days:
            values[c.decayed(action, half_life)] = pa.array(decayed_sum(entries, reach, action, half_life))
    if figures.users:
        values[c.USERS_SKETCH] = merged_sketches(hashes_of(entries, reach))
    return pa.table(pairs.columns(np.arange(len(pairs))) | values)


def with_decays(day: pa.Table, figures: Figures) -> pa.Table:
    """A day's rows as a part: its decays, as of the day itself, are its counts."""
    for action in figures.actions:
        counts = day[c.count(action)].cast(pa.float64())
        for half_life in figures.half_lives_days:
            day = day.append_column(c.decayed(action, half_life), counts)
    return day
