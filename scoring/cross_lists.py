"""What a query's interactions add to its pairs, as one packed list per query and segment value.

A list is bytes: the rows of n items (int32), then their values (n, W) (float32). W is 1 where the model's fusion is
linear: the sum of its terms over the segment's columns, folded in Spark. Otherwise it is those columns themselves.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from scoring.item_matrix import ItemMatrix

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int32]


@dataclass(frozen=True)
class CrossLayout:
    """How lists become what a model's score reads: per segment, the places of its values among C cross features.

    ``constant`` is None for features as they are (P, C); else C is 1 per segment and their sum with it is one number.
    """

    segments: tuple[str, ...]
    places: tuple[tuple[int, ...], ...]
    constant: float | None = None

    @property
    def width(self) -> int:
        """C."""
        return sum(map(len, self.places))


def pack(rows: Rows, values: Floats) -> bytes:
    """A list of n rows and values (n, W)."""
    return rows.astype(np.int32).tobytes() + values.astype(np.float32).tobytes()


def unpack(packed: Any, width: int) -> tuple[Rows, Floats]:
    """Rows (n,) and values (n, W) of a list, as views of its bytes."""
    count = len(packed) // (4 + 4 * width)
    rows = np.frombuffer(packed, np.int32, count)
    return rows, np.frombuffer(packed, np.float32, count * width, offset=4 * count).reshape(count, width)


def packed_lists(batches: Iterable[pa.RecordBatch], matrix: ItemMatrix) -> Iterator[pa.RecordBatch]:
    """(query_key, name, item, values), sorted by the first two -> (query_key, name, packed), one row per list.

    ``item`` is the xxhash64 of an item_id, ``values`` an array<float>; items that the catalogue does not hold are left
    out. A list may go on in the next batch.
    """
    held: pa.Table | None = None
    for batch in batches:
        table = pa.Table.from_batches([batch] if held is None else [*held.to_batches(), batch])
        starts = _list_starts(table)
        if len(starts):
            yield from _packed(table.slice(0, starts[-1]), starts[:-1], matrix)
            held = table.slice(starts[-1])
    if held is not None and len(held):
        yield from _packed(held, np.zeros(1, np.int64), matrix)


def _list_starts(table: pa.Table) -> npt.NDArray[np.int64]:
    if not len(table):
        return np.zeros(0, np.int64)
    changes = np.zeros(len(table), dtype=bool)
    changes[0] = True
    for name in ("query_key", "name"):
        column = table[name].combine_chunks()
        changes[1:] |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return np.flatnonzero(changes)


def _packed(table: pa.Table, starts: npt.NDArray[np.int64], matrix: ItemMatrix) -> Iterator[pa.RecordBatch]:
    if not len(table):
        return
    rows = matrix.rows_of_hashes(table["item"].combine_chunks().to_numpy())
    values = table["values"].combine_chunks()
    edges, flat = values.offsets.to_numpy(), values.values.to_numpy(zero_copy_only=False)
    known, packed = rows >= 0, []
    for low, high in pairwise([*starts.tolist(), len(table)]):
        here = known[low:high]  # lists of one table may differ in width
        packed.append(pack(rows[low:high][here], flat[edges[low] : edges[high]].reshape(high - low, -1)[here]))
    first = table.take(pa.array(starts)).combine_chunks()
    columns = [*(first[name].combine_chunks() for name in ("query_key", "name")), pa.array(packed, pa.binary())]
    yield pa.RecordBatch.from_arrays(columns, names=["query_key", "name", "packed"])


class CrossScatter:
    """Looks up the pairs of one request after the other in its lists, over scratch memory of N items that it reuses."""

    def __init__(self, layout: CrossLayout, items: int):
        self.layout = layout
        linear = layout.constant is not None
        self._folded = np.zeros(items if linear else 0, dtype=np.float32)
        self._places = np.zeros(0 if linear else items, dtype=np.int32)

    def folded(self, rows: Rows, lists: Sequence[Any], rates: Any) -> Floats:
        """The one number (p,) of each pair with a linear fusion.

        ``lists`` hold one packed list or None per segment; ``rates`` what each segment adds for pairs that it has no
        row of, None if nothing.
        """
        total = np.full(len(rows), self.layout.constant or 0.0)
        unseen, absent = unpack(rates, len(lists)) if rates else (None, None)
        scratch = self._folded
        for segment, packed in enumerate(lists):
            if unseen is not None and absent is not None:
                scratch[unseen] = absent[:, segment]
            if packed:
                seen, values = unpack(packed, 1)
                scratch[seen] = values[:, 0]
                total += scratch.take(rows)
                scratch[seen] = 0
            elif unseen is not None:
                total += scratch.take(rows)
        if unseen is not None:  # once for all: every segment writes each of them anew
            scratch[unseen] = 0
        return total.astype(np.float32)

    def features(self, rows: Rows, lists: Sequence[Any], rates: Any) -> Floats:
        """The cross features (p, C) of each pair as training sees them; arguments as in ``folded``."""
        width = self.layout.width
        cross = np.zeros((len(rows), width), dtype=np.float32)
        if rates:
            cross = self._looked_up(rows, *unpack(rates, width))[0]
        for places, packed in zip(self.layout.places, lists, strict=True):
            if packed:
                found, has_row = self._looked_up(rows, *unpack(packed, len(places)))
                cross[np.flatnonzero(has_row)[:, None], np.array(places)] = found[has_row]
        return cross

    def _looked_up(self, rows: Rows, listed: Rows, values: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Values (p, W) of pairs, 0 where the list has none, and whether it has (p,)."""
        self._places[listed] = np.arange(1, len(listed) + 1, dtype=np.int32)
        places = self._places.take(rows)
        self._places[listed] = 0
        padded = np.concatenate([np.zeros((1, values.shape[1]), np.float32), values])
        return padded[places], places > 0
