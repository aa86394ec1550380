"""Numbers for values and for combinations of values: what everything in these kernels is grouped by."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def codes_of(column: pa.ChunkedArray | pa.Array) -> tuple[Ints, pa.Array]:
    """(code of each value, the distinct values in ascending order); strings sort by their UTF-8 bytes, as in Spark."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = whole.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[encoded.indices.to_numpy(zero_copy_only=False)], encoded.dictionary.take(order)


def changes(key: Ints) -> npt.NDArray[np.bool_]:
    """(N,) where a sorted key is not that of the row before."""
    first = np.ones(len(key), dtype=bool)
    first[1:] = key[1:] != key[:-1]
    return first
