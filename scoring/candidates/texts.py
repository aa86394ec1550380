"""The items whose texts match a query's words best (BM25): once per distinct query, in Spark workers."""

import logging
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame

from models.bm25 import DEFAULT, Bm25
from models.hashing import words


class TextIndex:
    """BM25 over N items in the order of their ids, on distinct texts, as the baseline of ``evaluate`` does it."""

    def __init__(self, ids: Sequence[str], texts: Sequence[str]):
        logging.getLogger("bm25s").setLevel(logging.WARNING)
        distinct, text_of_item = np.unique(np.array([*texts, ""], dtype=object), return_inverse=True)
        tokens = [words(text) for text in distinct]
        self._bm25 = Bm25(tokens, *DEFAULT) if any(tokens) else None
        self._ids = pa.array(ids, pa.string())
        # The rows of text t are items[starts[t]:starts[t + 1]].
        self._items = np.argsort(text_of_item[:-1], kind="stable")
        self._starts = np.searchsorted(text_of_item[:-1][self._items], np.arange(len(distinct) + 1))

    def best(self, query: str, k: int) -> npt.NDArray[np.int64]:
        """Rows of at most ``k`` items with a word of the query, best first; equal scores by item_id."""
        if self._bm25 is None:
            return np.empty(0, np.int64)
        scores = self._bm25.scores(query)
        texts = np.flatnonzero(scores > 0)
        if len(texts) > k:
            # Every text has an item, or none beside the empty one: the best k items are in texts up to the k-th.
            threshold = np.partition(scores[texts], len(texts) - k)[len(texts) - k]
            texts = texts[scores[texts] >= threshold]
        rows = [self._items[self._starts[text] : self._starts[text + 1]] for text in texts]
        flat = np.concatenate([np.empty(0, np.int64), *rows])
        order = np.lexsort((flat, -np.repeat(scores[texts], [len(one) for one in rows])))
        return flat[order[:k]]

    def items(self, queries: Sequence[str], k: int) -> pa.Array:
        """array<string> (Q,): ``best`` by item_id."""
        found = [self.best(query, k) for query in queries]
        offsets = np.cumsum([0, *map(len, found)], dtype=np.int32)
        return pa.ListArray.from_arrays(offsets, self._ids.take(np.concatenate([np.empty(0, np.int64), *found])))


def index_of(items: DataFrame) -> TextIndex:
    """Of a catalogue's item_id and text. It is built in the driver, whose memory has to hold the catalogue's texts."""
    table = items.select("item_id", "text").toArrow().sort_by("item_id")
    return TextIndex(table["item_id"].to_pylist(), table["text"].to_pylist())


def matching_items(asked: DataFrame, items: DataFrame, most: int, tasks: int) -> DataFrame:
    """(query_key, items array<string>) of each ``query_key`` of ``asked``, which are distinct, in ``tasks`` tasks."""
    shared = asked.sparkSession.sparkContext.broadcast(index_of(items))

    def run(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        for batch in batches:
            found = shared.value.items(batch["query_key"].to_pylist(), most)
            yield pa.RecordBatch.from_arrays([batch["query_key"], found], names=["query_key", "items"])

    # By number: Spark would put so few bytes into one task, however long each query takes.
    spread = asked.select("query_key").repartition(tasks, "query_key")
    return spread.mapInArrow(run, "query_key string, items array<string>")
