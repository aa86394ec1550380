"""Events to daily partials: counts of each day's pairs per segment, and the sketch of their users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from etl.contract import columns as c
from etl.kernels.codes import Ints, changes, codes_of
from etl.kernels.users import MAX_HASHES

#: Columns of events as this kernel takes them: the user's 64-bit hash, and one column per segment, null without it.
USER = "user"

MILLION = 1_000_000

#: Where an impression says nothing of its position.
NO_POSITION = -1

PositionPriors: TypeAlias = Mapping[tuple[str, int], Sequence[int]]
"""(ds, position) -> for each action but impressions how many follow a million impressions there."""


def segment_column(name: str) -> str:
    return f"segment_{name}"


@dataclass(frozen=True)
class _Seen:
    """Every event once per segment that it counts under."""

    event: Ints  # (M,)
    segment: Ints  # (M,) index into names and values
    names: pa.Array
    values: pa.Array


def daily_of(
    events: pa.Table, actions: Sequence[str], segments: Sequence[str], positions: PositionPriors | None = None,
    size: int = MAX_HASHES,
) -> pa.Table:  # fmt: skip
    """Rows of ``interactions_daily`` of the pairs of ``events``, which holds each of them whole.

    ``events``: ds, query_key, item_id, action (one of ``actions``), ``user`` (int64) and a column per segment. With
    ``positions``, also position (null where unknown), for how often each action could be expected.
    """
    seen = _by_segment(events, segments)
    codes, values = zip(*(codes_of(events[name]) for name in ("ds", "query_key", "item_id")), strict=True)
    pair = (codes[0] * len(values[1]) + codes[1]) * len(values[2]) + codes[2]
    key = pair[seen.event] * len(seen.names) + seen.segment
    user = events[USER].to_numpy()[seen.event]
    order = np.lexsort((user, key))
    key, user = key[order], user[order]
    first = changes(key)
    group, rows = np.cumsum(first) - 1, int(first.sum())
    event = seen.event[order]
    counts = _counts(events, actions, event, group, rows)
    segment = seen.segment[order][first]
    owner = event[first]
    keys = {
        name: value.take(code[owner]) for name, value, code in zip(("ds", *c.PAIR_KEY[:2]), values, codes, strict=True)
    }
    keys |= {"segment_name": seen.names.take(segment), "segment_value": seen.values.take(segment)}
    figures = {c.count(action): pa.array(counts[:, place]) for place, action in enumerate(actions)}
    if positions is not None:
        figures |= _expected(events, actions, positions, event, group, rows)
    return pa.table({**keys, **figures, c.USERS_SKETCH: _sketches(group, user, rows, size)})


def acted(actions: Sequence[str]) -> list[str]:
    """The actions that may follow an impression."""
    return [action for action in actions if action != c.IMPRESSION]


def _expected(
    events: pa.Table, actions: Sequence[str], positions: PositionPriors, event: Ints, group: Ints, rows: int
) -> dict[str, pa.Array]:
    """Millionths of each action, summed over a group's impressions: whole numbers, in any order the same."""
    shown = pc.equal(events["action"], c.IMPRESSION).to_numpy()
    ds, days = codes_of(events["ds"])
    position, known = codes_of(events["position"].cast(pa.int64()).fill_null(NO_POSITION))
    cells = [[positions.get((day, place), ()) for place in known.to_pylist()] for day in days.to_pylist()]
    figures = {}
    for number, action in enumerate(acted(actions)):
        table = np.array([[cell[number] if cell else 0 for cell in row] for row in cells], dtype=np.int64)
        each = np.where(shown, table[ds, position], 0) if events.num_rows else np.zeros(0, dtype=np.int64)
        sums = np.bincount(group, weights=each[event], minlength=rows)
        figures[c.expected(action)] = pa.array(sums.astype(np.int64))
    return figures


def moments_of(pairs: pa.Table, actions: Sequence[str]) -> Ints:
    """(A, 2): of each action the sum of n and of n (n - 1) over rows of ``interactions_daily``, each pair once."""
    counts = pairs.filter(pc.equal(pairs["segment_name"], c.ALL_SEGMENT)).select([c.count(name) for name in actions])
    numbers = [column.to_numpy() for column in counts.columns]
    return np.array([[n.sum(), (n * (n - 1)).sum()] for n in numbers], dtype=np.int64).reshape(-1, 2)


def _by_segment(events: pa.Table, segments: Sequence[str]) -> _Seen:
    event, segment = [np.arange(events.num_rows)], [np.zeros(events.num_rows, dtype=np.int64)]
    names, values = [c.ALL_SEGMENT], [c.ALL_VALUE]
    for name in segments:
        column = events[segment_column(name)].combine_chunks()
        carried = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        code, known = codes_of(column.take(carried))
        event.append(carried)
        segment.append(code + len(names))
        names += [name] * len(known)
        values += known.to_pylist()
    return _Seen(np.concatenate(event), np.concatenate(segment), pa.array(names), pa.array(values))


def _counts(events: pa.Table, actions: Sequence[str], event: Ints, group: Ints, rows: int) -> Ints:
    """(rows, A)"""
    action = pc.index_in(events["action"], pa.array(actions)).to_numpy()[event]
    cells = np.bincount(group * len(actions) + action, minlength=rows * len(actions))
    return cells.reshape(rows, len(actions))


def _sketches(group: Ints, user: npt.NDArray[np.int64], rows: int, size: int) -> pa.ListArray:
    """The ``size`` smallest hashes of each group's users, ascending; hashes come sorted within their group."""
    new = changes(group) | changes(user)
    group, user = group[new], user[new]
    starts = np.searchsorted(group, np.arange(rows + 1))
    kept = np.arange(len(group)) - starts[group] < size
    offsets = np.concatenate([[0], np.cumsum(np.minimum(np.diff(starts), size))]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, user[kept])
