"""Evaluation results as rows of text, for whoever prints them."""

from typing import Any

COLUMNS = ("hits@1", "hits@3", "hits@10", "ndcg@10", "mrr", "auc", "calibration")


def metrics_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header and one row per model, then the oracle: ``0.512 [0.498, 0.526]`` where there is an interval."""
    entries = dict(result["models"])
    if "oracle" in result:
        entries["oracle"] = result["oracle"]
    return [["model", *COLUMNS]] + [[name, *(cell(entry, key) for key in COLUMNS)] for name, entry in entries.items()]


def slice_rows(result: dict[str, Any], metric: str = "hits@3") -> list[list[str]]:
    """Header and one row per slice: its requests, then the metric of every model."""
    names = [*result["models"], *(["oracle"] if "oracle" in result else [])]
    body = [
        [part, str(entry["requests"]), *(cell(entry[name], metric) for name in names)]
        for part, entry in result["slices"].items()
    ]
    return [["slice", "requests", *names], *body]


def difference_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header and one row per model: its paired differences from two_tower."""
    columns = COLUMNS[:-1]
    body = [[name, *(cell(entry, key, "+.3f") for key in columns)] for name, entry in result["differences"].items()]
    return [["minus two_tower", *columns], *body]


def cell(entry: dict[str, Any], key: str, form: str = ".3f") -> str:
    """One metric with its interval; a dash where there is none."""
    value = entry.get(key)
    if value is None:
        return "-"
    low, high = entry.get(f"{key}_ci", (None, None))
    return f"{value:{form}}" if low is None else f"{value:{form}} [{low:{form}}, {high:{form}}]"
