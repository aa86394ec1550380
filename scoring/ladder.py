"""An ablation's ladder, as the report shows it."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from etl.contract.manifest import TEST
from models.evaluate import ORACLE
from models.table import rung_difference_rows, rung_rows, total_words
from scoring.svg import ACCENT, MUTED, PAPER, draw, rows_axes, short

_PLOTTED = ("hits@3", "ndcg@10")


def ladder_parts(result: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the page's section needs; empty without an ablation."""
    if result is None:
        return {"ladder_plots": [], "ladder_table": [], "step_table": [], "ladder_words": ""}
    plots = [
        {"title": metric, "svg": Markup(ladder("ladder-" + metric.replace("@", "-at-"), metric, result))}
        for metric in _PLOTTED
        if metric in result["metrics"]
    ]
    return {
        "ladder_plots": plots,
        "ladder_table": rung_rows(dict(result), TEST),
        "step_table": rung_difference_rows(dict(result), TEST),
        "ladder_words": total_words(dict(result), TEST),
    }


def ladder(name: str, metric: str, result: Mapping[str, Any]) -> str:
    """One row per rung, the first on top: a point with its interval, hollow where not carried on; the oracle a line."""
    rungs = [rung for rung in result["rungs"] if rung[TEST][metric] is not None]
    ceiling = result["references"].get(ORACLE, {}).get(TEST, {}).get(metric)

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        for row, rung in enumerate(rungs):
            axes.plot(rung[TEST][f"{metric}_ci"], [row, row], color=ACCENT, linewidth=3, alpha=0.3)
            fill = ACCENT if rung["carried_on"] else PAPER
            axes.plot(rung[TEST][metric], row, "o", color=ACCENT, markerfacecolor=fill, markersize=7)
        kept = [(rung[TEST][metric], row) for row, rung in enumerate(rungs) if rung["carried_on"]]
        axes.plot(*zip(*kept, strict=True), color=ACCENT, linewidth=1, zorder=1)
        if ceiling is not None:
            axes.axvline(ceiling, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.4)
        rows_axes(axes, [short(rung["name"], 24) for rung in rungs])
        axes.margins(x=0.08)
        axes.set_xlabel(metric if ceiling is None else f"{metric} (dashed: oracle)")

    return draw(name, 60 + 24 * max(len(rungs), 2), plot)
