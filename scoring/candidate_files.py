"""Candidate lists read by the workers themselves from the data files of a Delta table, past the JVM.

A list of a thousand strings costs the JVM a thousand objects, twice; Arrow decodes the same bytes in place, and where a
file holds them as numbers of a dictionary, only the dictionary's strings are looked at. Spark still says which requests
there are and which file holds each.
"""

from collections.abc import Iterator
from itertools import pairwise
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scoring.errors import ScoringError
from scoring.xxhash import xxhash64

#: Requests decoded at once, and about how many items they may have: lists lie in memory, perhaps as strings.
_REQUESTS_AT_ONCE = 512
_ITEMS_AT_ONCE = 1 << 20
_HASHED = pa.list_(pa.int64())


class DictionaryHashes:
    """The xxhash64 of a dictionary's strings, kept for the next batch of lists: a row group's share one dictionary."""

    def __init__(self) -> None:
        self._dictionary: pa.StringArray | None = None
        self._hashes = np.empty(0, np.int64)

    def of(self, dictionary: pa.StringArray) -> npt.NDArray[np.int64]:
        """Of n strings (n + 1,): the last is that of a null."""
        if self._dictionary is None or not dictionary.equals(self._dictionary):
            self._hashes = np.append(xxhash64(dictionary), xxhash64(pa.array([None], pa.string())))
            self._dictionary = dictionary
        return self._hashes


def hashed_lists(lists: pa.ListArray, known: DictionaryHashes | None = None) -> pa.ListArray:
    """Lists (R,) of xxhash64 for lists of strings, plain or coded by a dictionary, perhaps one that is ``known``."""
    offsets = lists.offsets.to_numpy()
    values = lists.values.slice(offsets[0], offsets[-1] - offsets[0])
    if pa.types.is_dictionary(values.type):
        hashes = (known or DictionaryHashes()).of(values.dictionary)
        hashes = hashes.take(values.indices.fill_null(len(hashes) - 1).to_numpy())
    else:
        hashes = xxhash64(values)
    return pa.ListArray.from_arrays(pa.array(offsets - offsets[0], pa.int32()), pa.array(hashes))


class CandidateFiles:
    """Reads lists in the order of the files, as long as they are asked for in that order; each file once. Items come as
    the xxhash64 of their ids.

    A file is a URI, with the range of bytes that is a task's share of it as ``#start-length``.
    """

    def __init__(self) -> None:
        self._uri = ""
        self._parts: Iterator[pa.RecordBatch] = iter(())
        self._part: pa.RecordBatch | None = None
        self._lists: pa.ListArray | None = None
        self._known = DictionaryHashes()

    def lists(self, uris: pa.StringArray, request_ids: pa.StringArray) -> pa.ListArray:
        """The items (R,) of requests in files given by URI (R,); ScoringError for a file that does not hold them."""
        changes = np.flatnonzero(pc.not_equal(uris[1:], uris[:-1]).to_numpy(zero_copy_only=False)) + 1
        edges = [0, *changes.tolist(), len(uris)]
        found = [
            self._of_file(uris[low].as_py(), request_ids.slice(low, high - low))
            for low, high in pairwise(edges)
            if high > low
        ]
        return pa.concat_arrays(found) if found else pa.array([], _HASHED)

    def _of_file(self, uri: str, request_ids: pa.StringArray) -> pa.ListArray:
        parts, places = [], np.full(len(request_ids), -1, dtype=np.int64)
        count, restarts = 0, 0
        if uri != self._uri:
            self._open(uri)
        while (places < 0).any():
            if self._part is None:
                restarts += 1
                if restarts > 2:
                    missing = request_ids[int(np.flatnonzero(places < 0)[0])].as_py()
                    raise ScoringError(f"{uri} does not hold request '{missing}' any more: run the same command again")
                self._open(uri, whole=restarts == 2)
                continue
            at = pc.index_in(request_ids, self._part["request_id"]).fill_null(-1).to_numpy(zero_copy_only=False)
            here = np.flatnonzero((at >= 0) & (places < 0))
            if len(here):
                parts.append(_taken(self._lists, at[here]))
                places[here] = np.arange(count, count + len(here))
                count += len(here)
            if (places < 0).any():
                self._next()
        lists = pa.concat_arrays(parts) if parts else pa.array([], _HASHED)
        in_order = len(places) == 0 or (np.diff(places) == 1).all()
        return lists if in_order else lists.take(pa.array(places))

    def _next(self) -> None:
        try:
            self._part = next(self._parts, None)
        except (OSError, pa.ArrowException) as error:
            raise ScoringError(
                f"a worker cannot read {self._uri} ({error}): give workers the lake's folder, or read through Spark "
                "with --set score.direct_read=false"
            ) from error
        self._lists = None if self._part is None else hashed_lists(self._part["items"], self._known)

    def _open(self, uri: str, whole: bool = False) -> None:
        self._parts = _batches(unquote(urlsplit(uri).path), "" if whole else urlsplit(uri).fragment)
        self._uri = uri
        self._next()


def _batches(path: str, share: str) -> Iterator[pa.RecordBatch]:
    """The file's request_id and items, row group by row group: each has a dictionary of its own, and a batch one."""
    plain = pq.ParquetFile(path, memory_map=True)
    for number in _row_groups(plain.metadata, share):
        group = plain.metadata.row_group(number)
        coded = _coded(group)
        file = pq.ParquetFile(path, memory_map=True, read_dictionary=coded) if coded else plain
        yield from file.iter_batches(
            _requests_at_once(group), row_groups=[number], columns=["request_id", "items"], use_threads=False
        )


def _row_groups(metadata: pq.FileMetaData, share: str) -> list[int]:
    """Those whose middle lies in the share, as Spark deals them out; all of them without a share."""
    if not share:
        return list(range(metadata.num_row_groups))
    start, length = map(int, share.split("-"))
    found = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = [group.column(at) for at in range(group.num_columns)]
        first = min(column.dictionary_page_offset or column.data_page_offset for column in columns)
        if start <= first + sum(column.total_compressed_size for column in columns) // 2 < start + length:
            found.append(number)
    return found


def _requests_at_once(group: pq.RowGroupMetaData) -> int:
    per_request = max(1.0, _items(group).num_values / max(1, group.num_rows))
    return max(1, min(_REQUESTS_AT_ONCE, int(_ITEMS_AT_ONCE / per_request)))


def _coded(group: pq.RowGroupMetaData) -> list[str]:
    """The column of items, if all of it is numbers of a dictionary."""
    items = _items(group)
    # PLAIN: the dictionary outgrew its page.
    return [] if "PLAIN" in items.encodings else [items.path_in_schema]


def _items(group: pq.RowGroupMetaData) -> pq.ColumnChunkMetaData:
    columns = (group.column(at) for at in range(group.num_columns))
    return next(column for column in columns if column.path_in_schema.split(".")[0] == "items")


def _taken(lists: pa.ListArray, places: npt.NDArray[np.int64]) -> pa.ListArray:
    # A slice shares memory; a take copies.
    if len(places) and places[-1] - places[0] == len(places) - 1 and (np.diff(places) == 1).all():
        return lists.slice(int(places[0]), len(places))
    return lists.take(pa.array(places))
