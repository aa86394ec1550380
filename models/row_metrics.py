"""Metrics over all rows of a split: row AUC, log loss, calibration, with intervals that resample whole requests.

None of them is a mean over requests, and requests without an engaged item count too: each figure is computed anew on
every resample. All models see the same resamples, so differences pair. Log loss and calibration weigh rows as training
does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models import metrics
from models.bootstrap import bounds, drawn_counts
from models.dataset import Rows
from models.metrics import Floats
from models.scorers import RowScores

ROW_METRICS = ("row_auc", "logloss", "calibration")


@dataclass(frozen=True)
class Resampled:
    """A figure, and what it came to on each resample (S,). NaN: nothing to judge."""

    value: float
    samples: Floats

    def __sub__(self, other: "Resampled") -> "Resampled":
        return Resampled(self.value - other.value, self.samples - other.samples)

    def plain(self, name: str) -> dict[str, float | list[float | None] | None]:
        """Value and interval as JSON has them, which knows no NaN."""
        low, high = (plain(bound[0]) for bound in bounds(self.samples[:, None]))
        return {name: plain(self.value), f"{name}_ci": [low, high]}


def plain(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)


def row_metrics(
    scores: Mapping[str, RowScores], rows: Rows, heads: Sequence[str], seed: int
) -> dict[str, dict[str, Resampled]]:
    """By model: row_auc and, where it has probabilities, logloss, calibration, and that of each head by ``of_head``.

    Rows without a score (of the oracle) are left out.
    """
    figures = {
        (name, key): figure for name, score in scores.items() for key, figure in _figures(score, rows, heads).items()
    }
    samples: dict[tuple[str, str], list[Floats]] = {key: [] for key in figures}
    for counts in drawn_counts(rows.requests, seed):
        for key, (_, resampled) in figures.items():
            samples[key].append(resampled.on(counts))
    found: dict[str, dict[str, Resampled]] = {name: {} for name in scores}
    for (name, metric), (value, _) in figures.items():
        found[name][metric] = Resampled(value, np.concatenate(samples[name, metric]))
    return found


def of_head(head: str) -> str:
    return f"calibration of {head}"


@dataclass(frozen=True)
class _Ratio:
    """Of two sums over requests (R,) each."""

    above: Floats
    below: Floats

    def on(self, counts: Floats) -> Floats:
        """(S, R) -> (S,)."""
        above, below = counts @ self.above, counts @ self.below
        return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


class _RowAuc:
    """Negatives in the order of their scores, and between which of them each positive stands."""

    def __init__(self, score: Floats, positive: npt.NDArray[np.bool_], request: npt.NDArray[np.int64]):
        order = np.argsort(score[~positive])
        negatives = score[~positive][order]
        self.negative_of, self.positive_of = request[~positive][order], request[positive]
        # A tied pair counts half.
        self.first = np.searchsorted(negatives, score[positive], "left")
        self.last = np.searchsorted(negatives, score[positive], "right")

    def on(self, counts: Floats) -> Floats:
        """(S, R) -> (S,)."""
        return np.array([self._auc(each) for each in counts])

    def _auc(self, counts: Floats) -> float:
        below = np.concatenate([[0.0], np.cumsum(counts[self.negative_of])])
        drawn = counts[self.positive_of]
        pairs = drawn.sum() * below[-1]
        return float(drawn @ (below[self.first] + below[self.last]) / 2 / pairs) if pairs else float("nan")


def _figures(score: RowScores, rows: Rows, heads: Sequence[str]) -> dict[str, tuple[float, _Ratio | _RowAuc]]:
    """By metric: its value, and how to come to it from resampled requests."""
    known = np.isfinite(score.ranking)
    ranking, positive, request = score.ranking[known], rows.labels[known, 0] > 0, rows.request_of_row()[known]
    found: dict[str, tuple[float, _Ratio | _RowAuc]] = {
        "row_auc": (metrics.row_auc(ranking, positive), _RowAuc(ranking, positive, request))
    }
    if score.logits is None:
        return found
    weight = rows.weight.astype(np.float64)

    def summed(values: Floats) -> Floats:
        sums: Floats = np.add.reduceat(weight * values, rows.starts[:-1])
        return sums

    logit, label = score.logits[:, 0], rows.labels[:, 0]
    surprise = summed(metrics.cross_entropy(logit, label))
    found["logloss"] = metrics.log_loss(logit, label, weight), _Ratio(surprise, summed(np.ones(len(rows))))
    for index, head in enumerate(heads):
        probability, label = metrics.sigmoid(score.logits[:, index]), rows.labels[:, index]
        ratio = metrics.Calibration.of(probability, label, weight).ratio
        found[of_head(head)] = ratio, _Ratio(summed(probability), summed(label.astype(np.float64)))
    found["calibration"] = found[of_head(heads[0])]
    return found
