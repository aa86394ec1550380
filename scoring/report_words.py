"""The report in words: what came out, what each metric means, and what to do about what is missing."""

from collections.abc import Mapping
from typing import Any

from models.evaluate import BASELINE, ORACLE

_HEADLINE = "hits@3"

EXPLAINED = {
    "hits@k": "share of requests with at least one engaged item among the first k",
    "ndcg@10": "how near the engaged items of a request are to the top ten's best order; 1 is perfect",
    "mrr": "mean of 1 / rank of the first engaged item",
    "auc": "chance that an engaged item of a request is above another of it; 0.5 is guessing",
    "row_auc": "the same over all rows at once, whatever their request",
    "logloss": "mean surprise of the predicted probabilities, in nats; lower is better",
    "calibration": "predicted over observed engagement; 1 is right, above 1 promises too much",
}

MISSING = {
    "evaluation": "No evaluation yet. Make one with: prerank evaluate --data DIR --models bm25,two_tower,interactrank",
    "cost": "No evaluated model says what a pair costs. Evaluate a trained one: "
    "prerank evaluate --data DIR --models all",
    "slices": "The evaluation has no slices. They need an export with a training split: prerank export, then evaluate.",
    "calibration": "No evaluated model gives probabilities. Evaluate a trained one: "
    "prerank evaluate --data DIR --models two_tower,interactrank",
    "models": "No trained model to show. Train one with: prerank train --data DIR --model interactrank",
    "fusion": "No model here has weights on cross features. Train one with: "
    "prerank train --data DIR --model interactrank",
    "coverage": "The evaluated export does not say how many rows have history. Export again with: "
    "prerank export --start-ds A --end-ds B --out DIR, then prerank evaluate",
    "tables": "The lake has no table yet. Begin with: prerank ingest --source parquet --input PATH "
    "--start-ds A --end-ds B",
    "rejected": "No table of refused rows yet: it comes with prerank ingest.",
    "monitoring": "No day is monitored yet. Begin with: prerank monitor --ds D",
    "runs": "No run is recorded yet. Every prerank ingest, interactions and score records one.",
}


def headline(evaluation: Mapping[str, Any] | None) -> str:
    """The one sentence on top."""
    ranked = _ranked(evaluation)
    if evaluation is None or not ranked:
        return "Nothing has been evaluated yet."
    name, entry = ranked[0]
    others = ", ".join(f"{other} {100 * found[_HEADLINE]:.1f} %" for other, found in ranked[1:])
    first = f"{name} finds an engaged item in the top 3 in {_percent(entry)} of requests"
    return f"{first}; {others}." if others else f"{first}."


def summary(evaluation: Mapping[str, Any] | None) -> list[str]:
    """What follows the headline: the baseline, the ceiling, and what the numbers rest on."""
    ranked = _ranked(evaluation)
    if evaluation is None or not ranked:
        return []
    name, entry = ranked[0]
    basis = (
        f"Measured on {evaluation['requests']:,} requests with an engaged item"
        f" ({evaluation.get('rows', 0):,} rows) of the {evaluation.get('split', 'test')} split;"
        f" brackets hold 95 % intervals from resampled requests."
    )
    said = [_against_baseline(name, evaluation), _against_oracle(name, entry, evaluation), basis]
    return [sentence for sentence in said if sentence]


def bounds(entry: Mapping[str, Any], metric: str) -> tuple[float, float] | None:
    """The interval of a metric; None where there is none."""
    low, high = entry.get(f"{metric}_ci") or (None, None)
    return None if low is None or high is None else (low, high)


def _ranked(evaluation: Mapping[str, Any] | None) -> list[tuple[str, Mapping[str, Any]]]:
    """Models that have the headline's metric, best first."""
    models = (evaluation or {}).get("models", {})
    known = [(name, entry) for name, entry in models.items() if entry.get(_HEADLINE) is not None]
    return sorted(known, key=lambda pair: -pair[1][_HEADLINE])


def _against_baseline(name: str, evaluation: Mapping[str, Any]) -> str:
    entry = evaluation["differences"].get(name)
    if entry is None or entry.get(_HEADLINE) is None:
        return ""
    points = f"{100 * entry[_HEADLINE]:+.1f} points".replace("-", "−")
    found = bounds(entry, _HEADLINE)
    if found is None:
        return f"On the same requests, {name} is {points} from {BASELINE}."
    low, high = found
    span = f"[{100 * low:+.1f}, {100 * high:+.1f}]".replace("-", "−")
    verdict = "an interval clear of zero" if low > 0 or high < 0 else "an interval that holds zero, so no clear winner"
    return f"On the same requests, {name} differs from {BASELINE} by {points} {span}: {verdict}."


def _against_oracle(name: str, entry: Mapping[str, Any], evaluation: Mapping[str, Any]) -> str:
    oracle = evaluation.get(ORACLE) or {}
    if oracle.get(_HEADLINE) is None:
        return ""
    said = f"The ceiling, an oracle that knows the true chance of engagement, is {_percent(oracle)}"
    if oracle.get("requests", evaluation["requests"]) != evaluation["requests"]:
        return f"{said}, on the {oracle['requests']:,} requests whose truth is known."
    base = evaluation["models"].get(BASELINE, {}).get(_HEADLINE)
    if name == BASELINE or base is None or oracle[_HEADLINE] <= base:
        return f"{said}."
    closed = (entry[_HEADLINE] - base) / (oracle[_HEADLINE] - base)
    return f"{said}; {name} closes {100 * closed:.0f} % of the gap between {BASELINE} and the oracle."


def _percent(entry: Mapping[str, Any]) -> str:
    value, found = f"{100 * entry[_HEADLINE]:.1f} %", bounds(entry, _HEADLINE)
    return value if found is None else f"{value} [{100 * found[0]:.1f}, {100 * found[1]:.1f}]"
