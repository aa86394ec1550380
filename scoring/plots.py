"""The report's plots: plain values in, SVG text out. Nothing here knows files, Spark or models.

An ``Interval`` is (value, low, high) in the metric's own unit; low and high equal the value where there is no interval.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from scoring.svg import ACCENT, GRID, INK, MUTED, PAPER, Style, draw, rows_axes, short

Interval = tuple[float, float, float]
Floats = npt.NDArray[np.float64]

_PERCENTS = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)


def metric_dots(
    name: str, metric: str, values: Mapping[str, Interval], ceiling: float | None, styles: Mapping[str, Style]
) -> str:
    """One row per model: a dot with its interval; the oracle as a dashed line."""

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        for row, (model, (value, low, high)) in enumerate(values.items()):
            style = styles[model]
            axes.plot([low, high], [row, row], color=style.color, linewidth=4, alpha=0.35)
            axes.plot(value, row, marker=style.marker, color=style.color, markersize=8)
            axes.annotate(f"{value:.3f}", (value, row), (0, 9), textcoords="offset points", ha="center", color=INK)
        if ceiling is not None:
            axes.axvline(ceiling, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.4)
            axes.annotate(
                f"oracle {ceiling:.3f}",
                (ceiling, 1), (-5, 2), xycoords=("data", "axes fraction"), textcoords="offset points",
                ha="right", va="bottom", color=MUTED,
            )  # fmt: skip
        rows_axes(axes, [short(model, 20) for model in values])
        axes.set_ylim(len(values) - 0.5, -0.75)
        axes.margins(x=0.12)
        axes.set_xlabel(metric)

    return draw(name, 80 + 40 * len(values), plot)


def slice_dots(
    name: str, metric: str, slices: Mapping[str, Mapping[str, Interval]], styles: Mapping[str, Style], oracle: str
) -> str:
    """One group of rows per slice, one dot with its interval per model, a grey bar for the oracle."""
    models = list(dict.fromkeys(model for values in slices.values() for model in values))
    drawn = [model for model in models if model != oracle]
    step = 0.66 / max(len(drawn), 1)

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        for row, values in enumerate(slices.values()):
            if row % 2 == 0:
                axes.axhspan(row - 0.5, row + 0.5, color=GRID, alpha=0.35, linewidth=0)
            if oracle in values:
                axes.plot([values[oracle][0]] * 2, [row - 0.36, row + 0.36], color=MUTED, linewidth=2)
            for place, model in enumerate(drawn):
                if model in values:
                    _dot(axes, values[model], row + (place - (len(drawn) - 1) / 2) * step, styles[model])
        rows_axes(axes, list(slices))
        axes.set_ylim(len(slices) - 0.5, -0.5)
        axes.set_xlabel(metric)

    return draw(name, 60 + (26 + 14 * len(drawn)) * len(slices), plot)


def _dot(axes: Axes, interval: Interval, row: float, style: Style) -> None:
    value, low, high = interval
    axes.plot([low, high], [row, row], color=style.color, linewidth=1.8, alpha=0.6)
    axes.plot(value, row, marker=style.marker, color=style.color, markersize=6)


def reliability(name: str, curves: Mapping[str, Sequence[Mapping[str, float]]], styles: Mapping[str, Style]) -> str:
    """Observed over predicted rate by bin, a line per model, and below where each model's predictions lie.

    ``curves`` hold per model the bins with keys predicted, observed (both in [0, 1]) and rows. Both axes grow with the
    square root, as most predictions are small.
    """
    top = max((max(b["predicted"], b["observed"]) for bins in curves.values() for b in bins), default=1.0)
    limit = min(1.0, max(top * 1.15, 0.005))
    ticks = _apart(_PERCENTS, limit)

    def plot(figure: Figure) -> None:
        axes, strip = figure.subplots(2, 1, sharex=True, height_ratios=[5, 0.55 * max(len(curves), 1)])
        axes.plot([0, limit], [0, limit], color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2)
        for row, (model, bins) in enumerate(curves.items()):
            style = styles[model]
            predicted = [b["predicted"] for b in bins]
            axes.plot(predicted, [b["observed"] for b in bins], color=style.color, marker=style.marker, markersize=5)
            most = max(b["rows"] for b in bins) or 1.0
            heights = [0.8 * b["rows"] / most for b in bins]
            bottom = len(curves) - 1 - row
            strip.vlines(predicted, bottom, [bottom + h for h in heights], color=style.color, linewidth=3)
        axes.set_xscale("function", functions=(_root, _square))
        axes.set_yscale("function", functions=(_root, _square))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
            axis.set_minor_locator(NullLocator())
        axes.set(xlim=(0, limit), ylim=(0, limit), ylabel="observed")
        strip.set(ylim=(-0.1, len(curves)), yticks=[], xlabel="predicted")
        strip.spines["left"].set_visible(False)
        axes.tick_params(axis="x", length=0, labelbottom=False)

    return draw(name, 330 + 24 * len(curves), plot)


def _apart(ticks: Sequence[float], limit: float) -> list[float]:
    """The ticks up to ``limit`` whose labels do not touch on an axis that grows with the square root."""
    kept: list[float] = []
    for tick in ticks:
        if tick <= limit and (not kept or tick**0.5 - kept[-1] ** 0.5 >= 0.09 * limit**0.5):
            kept.append(tick)
    return kept


def _root(values: Floats) -> Floats:
    return np.sqrt(np.maximum(values, 0.0))


def _square(values: Floats) -> Floats:
    return np.square(values)


def fusion_weights(name: str, weights: Mapping[str, float], style: Style, most: int = 20) -> str:
    """Bars of the ``most`` largest weights by size, grouped by the segment before the double underscore."""
    largest = sorted(weights, key=lambda feature: (-abs(weights[feature]), feature))[:most]
    order = list(dict.fromkeys(_segment(feature)[0] for feature in weights))
    digits = 2 if max((abs(weights[feature]) for feature in largest), default=1.0) >= 0.2 else 3
    rows: list[tuple[str, float | None]] = []
    for segment in order:
        members = [feature for feature in largest if _segment(feature)[0] == segment]
        rows += [(segment, None)] if members else []
        rows += [(_segment(feature)[1], weights[feature]) for feature in members]

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        for row, (_, weight) in enumerate(rows):
            if weight is not None:
                axes.barh(row, weight, height=0.62, color=style.color, alpha=1.0 if weight >= 0 else 0.45)
                side = 1 if weight >= 0 else -1
                axes.annotate(
                    f"{weight:+.{digits}f}".replace("-", "−"),
                    (weight, row), (4 * side, 0), textcoords="offset points",
                    ha="left" if side > 0 else "right", va="center", fontsize=9, color=MUTED,
                )  # fmt: skip
        rows_axes(axes, [short(label, 30) for label, _ in rows])
        for label, (_, weight) in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_fontweight("bold" if weight is None else "normal")
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.margins(x=0.16)
        axes.set_xlabel("weight of the scaled feature, in logits")

    return draw(name, 60 + 17 * max(len(rows), 2), plot)


def _segment(feature: str) -> tuple[str, str]:
    segment, found, column = feature.partition("__")
    return (segment, column) if found else ("other", feature)


def coverage(name: str, by_ds: Mapping[str, Mapping[str, float]]) -> str:
    """The share of rows with interaction history by day (0 to 1), and the day's rows below."""
    days = sorted(by_ds)

    def plot(figure: Figure) -> None:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        places = range(len(days))
        share = [100 * by_ds[ds]["with_history"] for ds in days]
        axes.fill_between(places, share, color=ACCENT, alpha=0.12, linewidth=0)
        axes.plot(places, share, color=ACCENT, marker="o", markersize=4 if len(days) <= 60 else 0)
        axes.set(ylim=(0, 104), ylabel="rows with history, %")
        axes.tick_params(axis="x", length=0)
        below.bar(places, [by_ds[ds]["rows"] for ds in days], color=ACCENT, alpha=0.55, width=0.7)
        below.set_ylabel("rows")
        below.yaxis.set_major_locator(MaxNLocator(2))
        below.yaxis.set_major_formatter(lambda value, _: compact(value))
        below.grid(visible=False, axis="x")
        shown = _spread(len(days), 4)
        below.set_xticks(shown, [days[place] for place in shown])
        figure.align_ylabels()

    return draw(name, 270, plot)


def training_curves(
    name: str, label: str, curves: Mapping[str, Sequence[float]], best: Mapping[str, int], styles: Mapping[str, Style]
) -> str:
    """One value per epoch and model, from epoch 1; a ring marks the epoch that was kept."""

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        for model, values in curves.items():
            style = styles[model]
            axes.plot(range(1, len(values) + 1), values, color=style.color, marker=style.marker, markersize=5)
            kept = best.get(model, 0)
            if 1 <= kept <= len(values):
                axes.plot(
                    kept, values[kept - 1], "o",
                    markersize=13, markerfacecolor="none", markeredgecolor=style.color, markeredgewidth=1.6,
                )  # fmt: skip
        axes.margins(x=0.08, y=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel=label)

    return draw(name, 250, plot)


def run_times(name: str, jobs: Mapping[str, tuple[float, int]]) -> str:
    """A bar per job: seconds over all its runs, and how many runs there were."""

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        for row, (seconds, runs) in enumerate(jobs.values()):
            axes.barh(row, seconds, height=0.62, color=ACCENT)
            text = f"{duration(seconds)}, {runs} {'run' if runs == 1 else 'runs'}"
            axes.annotate(
                text, (seconds, row), (5, 0), textcoords="offset points", va="center", fontsize=10, color=MUTED,
                bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.0},
            )  # fmt: skip
        rows_axes(axes, [short(job, 24) for job in jobs])
        axes.set_xlim(0, max((seconds for seconds, _ in jobs.values()), default=1.0) * 1.4 or 1.0)
        axes.set_xlabel("seconds")

    return draw(name, 60 + 24 * max(len(jobs), 2), plot)


def duration(seconds: float) -> str:
    """Seconds as people say them: ``8.4 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def compact(value: float) -> str:
    """A count for an axis: ``950``, ``12k``, ``1.5M``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` evenly spaced places from the first on."""
    return list(range(0, count, max(1, math.ceil((count - 1) / (most - 1)))))
