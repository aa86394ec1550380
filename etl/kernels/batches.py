"""A sorted stream of Arrow batches, cut into tables that hold whole groups: memory stays that of one table."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

#: Entries (rows, or elements of ``size``) that a table holds before it is cut at the next group.
ENTRIES = 250_000


def whole_groups(
    batches: Iterable[pa.RecordBatch], key: Sequence[str], size: str | None = None, entries: int = ENTRIES
) -> Iterator[pa.Table]:
    """Tables of whole groups of equal ``key``, each of ``entries`` rows or a group more.

    Batches come sorted by ``key``. ``size`` names a list column whose elements are counted instead of rows.
    """
    held: list[pa.RecordBatch] = []
    count, wanted = 0, entries
    for batch in batches:
        if not batch.num_rows:
            continue
        held.append(batch)
        count += _entries(batch, size)
        if count < wanted:
            continue
        table = _joined(held)
        cut = int(group_starts(table, key)[-1])
        # Of a group longer than this its end is looked for ever more rarely.
        wanted = entries if cut else 2 * wanted
        if cut:
            yield table.slice(0, cut)
        held = table.slice(cut).to_batches()
        count = sum(_entries(batch, size) for batch in held)
    if held:
        yield _joined(held)


def group_starts(table: pa.Table, key: Sequence[str]) -> npt.NDArray[np.int64]:
    """The rows at which the value of ``key`` changes, 0 among them; () of an empty table."""
    changed = np.zeros(table.num_rows, dtype=bool)
    changed[:1] = True
    for name in key:
        codes = codes_of(table[name])[0]
        changed[1:] |= codes[1:] != codes[:-1]
    return np.flatnonzero(changed)


def codes_of(column: pa.ChunkedArray | pa.Array) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """(code of each value, the distinct values in ascending order); strings sort by their UTF-8 bytes, as in Spark."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = whole.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[encoded.indices.to_numpy(zero_copy_only=False)], encoded.dictionary.take(order)


def _entries(batch: pa.RecordBatch, size: str | None) -> int:
    return pc.sum(pc.list_value_length(batch[size])).as_py() or 0 if size else batch.num_rows


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    return pa.Table.from_batches(batches).combine_chunks()
