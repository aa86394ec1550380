"""Ranking metrics per request and probability metrics per row, all vectorised.

Ties favour nobody: among equal scores the order follows a hash of (request, item), never the label or the position in
which items were shown; in AUC a tied pair counts half.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PER_REQUEST = ("hits@1", "hits@3", "hits@10", "ndcg@10", "mrr", "auc")
BINS = 10


def tie_keys(request: npt.NDArray[np.int64], item: npt.NDArray[np.int32]) -> npt.NDArray[np.uint64]:
    """A well-mixed 64-bit hash (n,) of each row's request and item (the finaliser of splitmix64)."""
    x = request.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + item.astype(np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def request_metrics(
    starts: npt.NDArray[np.int64], score: Floats, label: npt.NDArray[Any], ties: npt.NDArray[np.uint64]
) -> dict[str, Floats]:
    """Every metric of PER_REQUEST for each of R requests (R,).

    Rows of request r are starts[r] .. starts[r+1]-1; ``score``, ``label`` (0 or 1) and ``ties`` are (n,). A request
    without a positive has NaN everywhere, one without a negative has NaN in auc.
    """
    sizes = np.diff(starts)
    request = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((ties, -score, request))
    rank = np.arange(len(order)) - np.repeat(starts[:-1], sizes)  # 0 is best
    positive = label[order] > 0
    owner, place = request[positive], rank[positive]
    positives = np.bincount(owner, minlength=len(sizes)).astype(np.float64)
    first = np.full(len(sizes), np.inf)
    np.minimum.at(first, owner, place)
    metrics = {f"hits@{k}": (first < k).astype(np.float64) for k in (1, 3, 10)}
    metrics["ndcg@10"] = _ndcg(owner, place, positives, 10)
    metrics["mrr"] = 1.0 / (first + 1.0)
    for values in metrics.values():
        values[positives == 0] = np.nan
    metrics["auc"] = _auc(request, score, label > 0, len(sizes))
    return metrics


def row_auc(score: Floats, label: npt.NDArray[Any]) -> float:
    """The share of (positive, negative) row pairs in the right order, over all requests; NaN if one kind is missing."""
    return float(_auc(np.zeros(len(score), dtype=np.int64), score, label > 0, 1)[0])


def cross_entropy(logit: Floats, label: npt.NDArray[Any]) -> Floats:
    """Binary, in nats, of each row (n,)."""
    entropy: Floats = np.logaddexp(0.0, logit) - label * logit
    return entropy


def log_loss(logit: Floats, label: npt.NDArray[Any], weight: npt.NDArray[Any] | None = None) -> float:
    """Mean cross-entropy of rows (n,) by their weight, 1 each without; NaN where all weights are 0."""
    return _mean(cross_entropy(logit, label), _weights(weight, label))


def sigmoid(logit: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -logit))


@dataclass(frozen=True)
class Calibration:
    """How well predicted probabilities match what happened: overall, and in bins of equal size by prediction."""

    predicted: float
    observed: float
    bins: list[dict[str, float]]

    @property
    def ratio(self) -> float:
        """Predicted / observed: 1 is calibrated, NaN when nothing was observed."""
        return self.predicted / self.observed if self.observed else float("nan")

    @classmethod
    def of(cls, probability: Floats, label: npt.NDArray[Any], weight: npt.NDArray[Any] | None = None) -> "Calibration":
        """Means of rows (n,) are by weight, 1 each without; bins have equally many rows."""
        weights = _weights(weight, label)
        order = np.argsort(probability, kind="stable")
        parts = [part for part in np.array_split(order, BINS) if weights[part].any()]
        bins = [
            {
                "rows": float(len(part)),
                "predicted": _mean(probability[part], weights[part]),
                "observed": _mean(label[part], weights[part]),
            }
            for part in parts
        ]
        return cls(_mean(probability, weights), _mean(label, weights), bins)


def _weights(weight: npt.NDArray[Any] | None, rows: npt.NDArray[Any]) -> Floats:
    return np.ones(len(rows)) if weight is None else weight.astype(np.float64)


def _mean(values: npt.NDArray[Any], weights: Floats) -> float:
    total = weights.sum()
    return float((values * weights).sum() / total) if total > 0 else float("nan")


def _ndcg(owner: npt.NDArray[np.int64], place: npt.NDArray[np.int64], positives: Floats, k: int) -> Floats:
    gain = np.where(place < k, 1.0 / np.log2(place + 2.0), 0.0)
    found = np.bincount(owner, weights=gain, minlength=len(positives))
    ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))])
    best = ideal[np.minimum(positives, k).astype(np.int64)]
    ndcg: Floats = np.divide(found, best, out=np.full(len(positives), np.nan), where=best > 0)
    return ndcg


def _auc(group: npt.NDArray[np.int64], score: Floats, positive: npt.NDArray[np.bool_], groups: int) -> Floats:
    """Mann-Whitney per group: average ranks of tied scores give each tied pair one half."""
    order = np.lexsort((score, group))
    group, score, positive = group[order], score[order], positive[order]
    new = np.concatenate([[True], (group[1:] != group[:-1]) | (score[1:] != score[:-1])])
    run = np.cumsum(new) - 1
    begin = np.flatnonzero(new)
    end = np.append(begin[1:], len(order))
    start = np.searchsorted(group, np.arange(groups))
    rank = ((begin + end - 1) / 2.0)[run] - start[group] + 1.0
    up = np.bincount(group, weights=positive, minlength=groups)
    down = np.bincount(group, minlength=groups) - up
    total = np.bincount(group, weights=np.where(positive, rank, 0.0), minlength=groups)
    pairs = up * down
    auc: Floats = np.divide(total - up * (up + 1) / 2, pairs, out=np.full(groups, np.nan), where=pairs > 0)
    return auc
