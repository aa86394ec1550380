"""Figures of days as lines over time: plain values in, SVG text out."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scoring.plots import compact
from scoring.svg import INK, draw, model_styles, short

_MARKED_DAYS = 60


def over_time(name: str, series: Mapping[str, Mapping[str, float]], share: bool) -> str:
    """A line per series of (ds -> value), broken where days are missing; ``share`` draws 0 to 1 as percent.

    Lines are named below the plot; a single one without a name needs none.
    """
    days = np.array(sorted({ds for values in series.values() for ds in values}), dtype="datetime64[D]")
    whole = np.arange(days[0], days[-1] + 1)
    styles = model_styles(series)
    rows = -(-len(series) // 2)
    scale = 100 if share else 1
    largest = scale * max(value for values in series.values() for value in values.values())

    def label(place: float, _: object) -> str:
        return str(whole[int(place)]) if place in range(len(whole)) else ""

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        for part, values in series.items():
            style = styles[part]
            drawn = [values.get(str(ds), np.nan) * scale for ds in whole]
            axes.plot(
                range(len(whole)), drawn, label=short(part, 30), color=style.color, marker=style.marker,
                markersize=4 if len(whole) <= _MARKED_DAYS else 0,
            )  # fmt: skip
        axes.set_ylim(bottom=0, top=104 if share and largest > 50 else None)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %" if share else compact(value))
        axes.set_xlim(-0.5, len(whole) - 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.xaxis.set_major_formatter(label)
        if any(series):
            figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=10, labelcolor=INK)

    return draw(name, 210 + 18 * rows, plot)
