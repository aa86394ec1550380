"""BM25 over item texts (library bm25s): the text-only baseline, without training.

k1 and b come from the validation split. Document frequencies are those of the distinct item texts. A query is scored
once against all texts, then its rows gather their scores. Scores are no probabilities.
"""

import logging
from collections.abc import Sequence

import bm25s
import numpy as np
import numpy.typing as npt

from etl.contract.manifest import VALIDATION
from models.dataset import Export, Rows
from models.hashing import words
from models.metrics import request_metrics, tie_keys
from models.scorers import RowScores, Track

_LOG = logging.getLogger(__name__)
DEFAULT = (1.2, 0.75)
#: Pairs (k1, b) that are tried on the validation split.
GRID = (DEFAULT, (0.6, 0.3), (0.9, 0.4), (1.2, 0.3), (1.5, 0.75), (2.0, 0.9))


class Bm25:
    """An index over N texts."""

    def __init__(self, tokens: list[list[str]], k1: float, b: float):
        self._index = bm25s.BM25(k1=k1, b=b)
        self._index.index(tokens, show_progress=False)
        self._vocabulary: dict[str, int] = self._index.vocab_dict
        self._texts = len(tokens)

    def scores(self, query: str) -> npt.NDArray[np.float32]:
        """(N,): 0 where no word of the query occurs."""
        ids = [self._vocabulary[word] for word in words(query) if word in self._vocabulary]
        if not ids:
            return np.zeros(self._texts, dtype=np.float32)
        return np.asarray(self._index.get_scores_from_ids(ids), dtype=np.float32)


class Bm25Scorer:
    """Tunes on the validation split when there is one, then scores rows."""

    def score(self, export: Export, rows: Rows, description: str, track: Track) -> RowScores:
        logging.getLogger("bm25s").setLevel(logging.WARNING)
        texts, text_of_item = np.unique(np.array(export.items.text, dtype=object), return_inverse=True)
        tokens = [words(text) for text in texts]
        keys, query_texts = export.queries
        queries = [text or key for key, text in zip(keys, query_texts, strict=True)]
        if not any(tokens):
            return RowScores(np.zeros(len(rows)), None)
        k1, b = self._tune(export, tokens, text_of_item, queries)
        _LOG.info("bm25: k1=%.1f b=%.2f", k1, b)
        return RowScores(score_rows(Bm25(tokens, k1, b), rows, text_of_item, queries, description, track), None)

    def _tune(
        self, export: Export, tokens: list[list[str]], text_of_item: npt.NDArray[np.int64], queries: Sequence[str]
    ) -> tuple[float, float]:
        if not export.has_split(VALIDATION):
            return DEFAULT
        rows = export.split(VALIDATION)
        ties = tie_keys(rows.request[rows.request_of_row()], rows.item)
        quality = {}
        for k1, b in GRID:
            scores = score_rows(Bm25(tokens, k1, b), rows, text_of_item, queries)
            ndcg = request_metrics(rows.starts, scores, rows.labels[:, 0], ties)["ndcg@10"]
            quality[k1, b] = -1.0 if np.isnan(ndcg).all() else float(np.nanmean(ndcg))
        return max(quality, key=quality.__getitem__)


def score_rows(
    index: Bm25,
    rows: Rows,
    text_of_item: npt.NDArray[np.int64],
    queries: Sequence[str],
    description: str = "",
    track: Track | None = None,
) -> npt.NDArray[np.float64]:
    """Scores (n,) of a split's rows."""
    query = rows.query[rows.request_of_row()]
    order = np.argsort(query, kind="stable")
    distinct, begins = np.unique(query[order], return_index=True)
    ends = np.append(begins[1:], len(order))
    scores = np.empty(len(rows))
    steps = list(zip(distinct, begins, ends, strict=True))
    for number, begin, end in track(steps, description, len(steps)) if track else steps:
        at = order[begin:end]
        scores[at] = index.scores(queries[number])[text_of_item[rows.item[at]]]
    return scores
