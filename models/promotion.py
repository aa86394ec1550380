"""Whether a new model takes the champion's place: better on the same rows, by more than chance would explain.

Both models rank the same requests. The requests are resampled, and the interval is that of the mean difference between
the two (paired): requests that are hard for both models widen neither side.
"""

from dataclasses import dataclass
from typing import Any

from models.dataset import Export
from models.errors import ExportError, FeatureContractError
from models.evaluate import evaluate
from models.features import FeatureSpec
from models.scorers import Scorer, Track, no_track

CANDIDATE, CHAMPION = "candidate", "champion"

#: Below this, resampled requests say little: of one request, the interval would be a point.
MIN_REQUESTS = 30


@dataclass(frozen=True)
class Estimate:
    """A mean over requests with the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, form: str = ".4f") -> str:
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


@dataclass(frozen=True)
class Comparison:
    """One metric of a candidate and of the champion, where there is one to compare with."""

    metric: str
    split: str
    rows: int
    requests: int
    """Those with a positive label: the others rank nothing right or wrong."""
    candidate: Estimate
    champion: Estimate | None = None
    difference: Estimate | None = None
    """The candidate's minus the champion's, request by request."""


@dataclass(frozen=True)
class Decision:
    promoted: bool
    forced: bool
    """Promoted although the comparison did not allow it."""
    reason: str


def compare(
    export: Export,
    candidate: Scorer,
    champion: Scorer | None,
    split: str,
    metric: str,
    seed: int,
    track: Track = no_track,
) -> Comparison:
    """Rank every request of a split with both models.

    Raises ExportError for a split that cannot judge the metric, FeatureContractError for data of another contract.
    """
    scorers = {CANDIDATE: candidate} | ({} if champion is None else {CHAMPION: champion})
    found = evaluate(export, scorers, split, seed, track, baseline=CHAMPION)
    if found["models"][CANDIDATE][metric] is None:
        raise ExportError(
            f"no request of split '{split}' of {export.directory} has a {metric}: export a longer range, or compare "
            f"by another metric"
        )
    judged = found["models"] | {"-": found["differences"].get(CANDIDATE)}
    own, other, difference = (_estimate(judged.get(name), metric) for name in (CANDIDATE, CHAMPION, "-"))
    assert own is not None
    return Comparison(metric, split, found["rows"], found["requests"], own, other, difference)


def decide(comparison: Comparison, force: bool, blocked: str | None = None) -> Decision:
    """Promote the first champion, a better candidate, or any with ``force``.

    ``blocked`` says why the present champion could not be compared, where that is so.
    """
    if blocked is None and comparison.difference is None:
        return Decision(True, False, "the first champion")
    obstacle = blocked or _obstacle(comparison)
    if obstacle is None:
        return Decision(True, False, "better than the champion by more than the interval")
    return Decision(force, force, f"forced although {obstacle}" if force else obstacle)


def require_fit(spec: FeatureSpec, export: Export) -> None:
    """FeatureContractError naming the first column on which a model and an export differ."""
    spec.check(export.manifest)
    width = export.items.dense.shape[1]
    if spec.dense_width != width:
        raise FeatureContractError("dense", f"{spec.dense_width} numbers per item", f"{width} numbers per item")


def _obstacle(comparison: Comparison) -> str | None:
    difference = comparison.difference
    assert difference is not None
    if comparison.requests < MIN_REQUESTS:
        return f"only {comparison.requests} requests could be compared, fewer than {MIN_REQUESTS}"
    if difference.high < 0:
        return "it is worse than the champion"
    return None if difference.low > 0 else "the interval of the difference does not lie above 0"


def _estimate(entry: dict[str, Any] | None, metric: str) -> Estimate | None:
    return None if entry is None else Estimate(entry[metric], *entry[f"{metric}_ci"])
