"""The report: one HTML page that needs nothing but itself. ``render`` is pure; ``write_report`` reads and writes."""

from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from etl.contract.publish import write_text
from etl.lake import Lake
from models.evaluate import ORACLE
from models.table import cell, cost_rows, difference_rows
from scoring import plots
from scoring.config import PrerankConfig
from scoring.ladder import ladder_parts
from scoring.pareto import quality_against_cost
from scoring.plots import Interval
from scoring.report_content import ReportContent, RunFacts, collect
from scoring.report_monitoring import monitoring_figures
from scoring.report_words import EXPLAINED, MISSING, bounds, headline, summary
from scoring.svg import Style, model_styles

_COLUMNS = ("hits@1", "hits@3", "hits@10", "ndcg@10", "mrr", "auc", "row_auc", "logloss", "calibration")
_PLOTTED = ("hits@3", "ndcg@10")
_SLICED = "hits@3"

Table = list[list[str]]
Figures = list[dict[str, Any]]


def write_report(lake: Lake, config: PrerankConfig, out: Path) -> None:
    """Gather what there is and write the page to ``out``, over what stands there."""
    write_text(out, render(collect(lake, config)))


def render(content: ReportContent) -> str:
    """The page as HTML text. The same content gives the same bytes; nothing in it is taken for markup."""
    names = [*(content.evaluation or {}).get("models", {}), *(model.name for model in content.models)]
    names = list(dict.fromkeys(names))
    styles = model_styles(names)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"count": lambda number: f"{number:,.0f}", "duration": plots.duration}
    template = environment.from_string(files("scoring").joinpath("report.html.j2").read_text(encoding="utf-8"))
    return template.render(
        content=content,
        headline=headline(content.evaluation),
        summary=summary(content.evaluation),
        styles=styles,
        has_oracle=ORACLE in (content.evaluation or {}),
        explained=EXPLAINED,
        missing=MISSING,
        **_evaluation_parts(content, styles),
        **_model_parts(content, styles),
        **ladder_parts(content.ablation),
        **_lake_parts(content),
    )


def _evaluation_parts(content: ReportContent, styles: Mapping[str, Style]) -> dict[str, Any]:
    result = content.evaluation
    if result is None:
        return {
            "metric_plots": [], "metric_table": [], "difference_table": [], "slice_plots": [], "slice_table": [],
            "reliability_plots": [], "calibration_table": [], "coverage_plots": [], "cost_plots": [], "cost_table": [],
        }  # fmt: skip
    entries = _entries(result)
    days = result.get("coverage_by_ds") or {}
    return {
        "metric_plots": _metric_plots(result, styles),
        "metric_table": [["model", *_COLUMNS]]
        + [[name, *(cell(entry, key) for key in _COLUMNS)] for name, entry in entries.items()],
        "difference_table": difference_rows(result) if result["differences"] else [],
        "cost_plots": _cost_plots(result, styles),
        "cost_table": cost_rows(result) if any(entry.get("cost") for entry in result["models"].values()) else [],
        "slice_plots": _slice_plots(result, styles),
        "slice_table": _slice_table(result, list(entries)),
        "reliability_plots": _reliability_plots(result, styles),
        "calibration_table": _calibration_table(result),
        "coverage_plots": [_figure("coverage", "Coverage by day", plots.coverage, days)] if days else [],
    }


def _entries(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(result["models"]) | ({ORACLE: result[ORACLE]} if ORACLE in result else {})


def _metric_plots(result: Mapping[str, Any], styles: Mapping[str, Style]) -> Figures:
    figures = []
    for metric in _PLOTTED:
        values = _intervals(result["models"], metric)
        ordered = dict(sorted(values.items(), key=lambda entry: -entry[1][0]))
        if ordered:
            ceiling = result.get(ORACLE, {}).get(metric)
            name = "metric-" + metric.replace("@", "-at-")
            figures.append(_figure(name, metric, plots.metric_dots, metric, ordered, ceiling, styles))
    return figures


def _cost_plots(result: Mapping[str, Any], styles: Mapping[str, Style]) -> Figures:
    flops = {name: entry["cost"]["flops_per_pair"] for name, entry in result["models"].items() if entry.get("cost")}
    figures = []
    for metric in _PLOTTED:
        values = _intervals(result["models"], metric)
        points = {name: (flops[name], values[name]) for name in flops if name in values and flops[name] > 0}
        if points:
            name = "cost-" + metric.replace("@", "-at-")
            figures.append(_figure(name, f"{metric} against cost", quality_against_cost, metric, points, styles))
    return figures


def _slice_plots(result: Mapping[str, Any], styles: Mapping[str, Style]) -> Figures:
    entries = _entries(result)
    slices = {
        _slice_name(part): _intervals({name: values[name] for name in entries if name in values}, _SLICED)
        for part, values in result["slices"].items()
    }
    known = {part: values for part, values in slices.items() if values}
    return [_figure("slices", f"{_SLICED} by slice", plots.slice_dots, _SLICED, known, styles, ORACLE)] if known else []


def _slice_table(result: Mapping[str, Any], names: list[str]) -> Table:
    body = [
        [_slice_name(part), f"{values['requests']:,}", *(cell(values.get(name, {}), _SLICED) for name in names)]
        for part, values in result["slices"].items()
    ]
    return [["slice", "requests", *names], *body] if body else []


def _slice_name(part: str) -> str:
    return part.replace("_", " ")


def _reliability_plots(result: Mapping[str, Any], styles: Mapping[str, Style]) -> Figures:
    by_head: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name, heads in result["calibration"].items():
        for head, found in heads.items():
            if found["bins"]:
                by_head.setdefault(head, {})[name] = found["bins"]
    return [
        _figure(f"reliability-{index}", f"head '{head}'", plots.reliability, curves, styles)
        for index, (head, curves) in enumerate(by_head.items())
    ]


def _calibration_table(result: Mapping[str, Any]) -> Table:
    body = [
        [name, head, f"{found['predicted']:.4f}", f"{found['observed']:.4f}", cell(found, "ratio")]
        for name, heads in result["calibration"].items()
        for head, found in heads.items()
    ]
    return [["model", "head", "predicted", "observed", "ratio"], *body] if body else []


def _model_parts(content: ReportContent, styles: Mapping[str, Style]) -> dict[str, Any]:
    best = {model.name: model.best_epoch for model in content.models}
    losses = {model.name: _column(model.curve, "loss") for model in content.models}
    # Models may have been stopped by different metrics: each gets its own plot.
    metrics = list(dict.fromkeys(model.metric for model in content.models))
    curves = [("training loss", losses)]
    for metric in metrics:
        of = [model for model in content.models if model.metric == metric]
        curves.append((f"validation {metric}", {m.name: _column(m.curve, f"validation_{metric}") for m in of}))
    drawn = [(label, {name: values for name, values in found.items() if values}) for label, found in curves]
    return {
        "fusion_plots": [
            _figure(f"fusion-{index}", model.name, plots.fusion_weights, model.cross_weights, styles[model.name])
            for index, model in enumerate(content.models)
            if model.cross_weights
        ],
        "curve_plots": [
            _figure(f"curve-{index}", label, plots.training_curves, label, found, best, styles)
            for index, (label, found) in enumerate(drawn)
            if found
        ],
    }


def _lake_parts(content: ReportContent) -> dict[str, Any]:
    jobs = seconds_by_job(content.runs)
    refused = sum((content.rejected or {}).values())
    return {
        "monitoring_plots": [_figure(*figure) for figure in monitoring_figures(content.monitoring)],
        "run_plots": [_figure("runs", "Seconds by job", plots.run_times, jobs)] if jobs else [],
        "rejected_table": [
            (reason, rows, f"{100 * rows / refused:.1f} %") for reason, rows in (content.rejected or {}).items()
        ],
    }


def seconds_by_job(runs: Iterable[RunFacts]) -> dict[str, tuple[float, int]]:
    """Seconds and number of runs by job, the longest first; a run that wrote several tables counts once."""
    longest: dict[tuple[str, str], float] = {}
    for run in runs:
        key = (run.job, run.run_id)
        longest[key] = max(longest.get(key, 0.0), run.seconds)
    jobs: dict[str, tuple[float, int]] = {}
    for (job, _), seconds in longest.items():
        total, count = jobs.get(job, (0.0, 0))
        jobs[job] = (total + seconds, count + 1)
    return dict(sorted(jobs.items(), key=lambda entry: (-entry[1][0], entry[0])))


def _intervals(entries: Mapping[str, Mapping[str, Any]], metric: str) -> dict[str, Interval]:
    found = {}
    for name, entry in entries.items():
        value = entry.get(metric)
        if value is not None:
            found[name] = (value, *(bounds(entry, metric) or (value, value)))
    return found


def _column(curve: Iterable[Mapping[str, float]], key: str) -> list[float]:
    """The values of one column up to the first epoch without it."""
    values = []
    for point in curve:
        if key not in point:
            break
        values.append(point[key])
    return values


def _figure(name: str, title: str, plot: Callable[..., str], *values: Any) -> dict[str, Any]:
    return {"title": title, "svg": Markup(plot(name, *values))}
