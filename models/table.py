"""Evaluation results as rows of text, for whoever prints them."""

from typing import Any

COLUMNS = ("hits@1", "hits@3", "hits@10", "ndcg@10", "mrr", "auc")
_DECLARED = ("flops_per_pair", "bytes_per_pair", "parameters")


def metrics_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header and one row per model, then the oracle: ``0.512 [0.498, 0.526]`` where there is an interval."""
    entries = dict(result["models"])
    if "oracle" in result:
        entries["oracle"] = result["oracle"]
    return [["model", *COLUMNS]] + [[name, *(cell(entry, key) for key in COLUMNS)] for name, entry in entries.items()]


def slice_rows(result: dict[str, Any], metric: str = "hits@3") -> list[list[str]]:
    """Header with the slices, their requests, then one row per model (and the oracle) with its metric in each."""
    names = [*result["models"], *(["oracle"] if "oracle" in result else [])]
    slices = result["slices"]
    body = [[name, *(cell(entry[name], metric) for entry in slices.values())] for name in names]
    return [[metric, *slices], ["requests", *(str(entry["requests"]) for entry in slices.values())], *body]


def difference_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header and one row per model: its paired differences from two_tower."""
    body = [[name, *(cell(entry, key, "+.3f") for key in COLUMNS)] for name, entry in result["differences"].items()]
    return [["minus two_tower", *COLUMNS], *body]


def probability_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header and one row per model: how good its probabilities are over all rows, calibration by head."""
    heads = list(dict.fromkeys(head for found in result["calibration"].values() for head in found))
    body = [
        [
            name,
            *(cell(entry, key) for key in ("row_auc", "logloss")),
            *(cell(result["calibration"].get(name, {}).get(head, {}), "ratio") for head in heads),
        ]
        for name, entry in result["models"].items()
    ]
    return [["model", "row auc", "logloss", *(f"calibration {head}" for head in heads)], *body]


def cost_rows(result: dict[str, Any]) -> list[list[str]]:
    """Header and one row per model: what a pair costs. The measured figure has three digits."""
    body = []
    for name, entry in result["models"].items():
        cost = entry.get("cost") or {}
        speed = cost.get("pairs_per_second")
        known = [f"{cost[key]:,}" if key in cost else "-" for key in _DECLARED]
        body.append([name, *known, "-" if speed is None else f"{float(f'{speed:.3g}'):,.0f}"])
    return [["model", "FLOPs/pair", "bytes/pair", "parameters", "pairs/s"], *body]


def rung_rows(result: dict[str, Any], split: str) -> list[list[str]]:
    """Header and one row per rung of an ablation, then bm25 and the oracle: ``0.512 [0.498, 0.526] ±0.004``."""
    body = [
        [
            rung["name"],
            "yes" if rung["carried_on"] else "no",
            *(_spread_cell(rung[split], key) for key in result["metrics"]),
        ]
        for rung in result["rungs"]
    ]
    known = [
        [name, "", *(cell(of[split], key) for key in result["metrics"])] for name, of in result["references"].items()
    ]
    return [[split, "kept", *result["metrics"]], *body, *known]


def rung_difference_rows(result: dict[str, Any], split: str) -> list[list[str]]:
    """Header and one row per rung: its paired differences from the rung that it was built on."""
    body = [
        [rung["name"], rung["before"], *(cell(rung["difference"][split], key, "+.3f") for key in result["metrics"])]
        for rung in result["rungs"]
        if rung["before"]
    ]
    return [[split, "minus", *result["metrics"]], *body]


def total_words(result: dict[str, Any], split: str, metric: str = "hits@3") -> str:
    """What the last rung that was carried on is worth against the first; empty where the metric judged nothing."""
    total = result["total"]
    found = total[split]
    if found.get(metric) is None:
        return ""
    said = f"{total['rung']} against {total['before']}, {split}: {metric} {cell(found, metric, '+.3f')}"
    said += "" if found["relative"] is None else f", {100 * found['relative']:+.1f} %"
    return said + ("" if found["gap_closed"] is None else f"; {100 * found['gap_closed']:.0f} % of the oracle's lead")


def _spread_cell(entry: dict[str, Any], key: str) -> str:
    spread = entry[f"{key}_std"]
    return cell(entry, key) + ("" if spread is None else f" ±{spread:.3f}")


def cell(entry: dict[str, Any], key: str, form: str = ".3f") -> str:
    """One metric with its interval; a dash where there is none."""
    value = entry.get(key)
    if value is None:
        return "-"
    low, high = entry.get(f"{key}_ci", (None, None))
    return f"{value:{form}}" if low is None else f"{value:{form}} [{low:{form}}, {high:{form}}]"
