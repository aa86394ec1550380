"""Quality against cost: one point per model, and the line that no model is above and left of."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from scoring.plots import Interval, compact
from scoring.svg import INK, MUTED, PAPER, WIDTH, Style, draw, short

_HEIGHT = 330.0
#: Of the axes within the figure, in points: near enough to place labels by.
_SPACE = (WIDTH - 60.0, _HEIGHT - 55.0)
_LEADER = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4}
_LINE, _CHARACTER = 13.0, 5.6
_SHIFTS = sorted(range(-8, 9), key=abs)

Box = tuple[float, float, float, float]
Spot = tuple[int, float, Box]
"""Of a label: its side of the point (1 right, -1 left), how far up from it, and the box that it fills."""


def quality_against_cost(
    name: str, metric: str, points: Mapping[str, tuple[float, Interval]], styles: Mapping[str, Style]
) -> str:
    """Per model its FLOPs per pair (above 0, drawn on a logarithmic axis) and its metric with the interval."""

    def plot(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.set_xscale("log")
        _limit(axes, points)
        for model, (cost, (value, low, high)) in points.items():
            style = styles[model]
            axes.plot([cost, cost], [low, high], color=style.color, linewidth=3, alpha=0.3)
            axes.plot(cost, value, marker=style.marker, color=style.color, markersize=7)
        best = [points[model] for model in frontier({model: (cost, at[0]) for model, (cost, at) in points.items()})]
        axes.step(
            [*(cost for cost, _ in best), axes.get_xlim()[1]], [*(at[0] for _, at in best), best[-1][1][0]],
            where="post", color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1,
        )  # fmt: skip
        _label(axes, {model: (cost, at[0]) for model, (cost, at) in points.items()})
        axes.xaxis.set_major_formatter(lambda value, _: compact(value))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel="FLOPs per pair", ylabel=metric)

    return draw(name, _HEIGHT, plot)


def frontier(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Models by (cost, quality) that no cheaper or equally cheap one is as good as, the cheapest first."""
    kept: list[str] = []
    for model in sorted(points, key=lambda model: (points[model][0], -points[model][1], model)):
        if not kept or points[model][1] > points[kept[-1]][1]:
            kept.append(model)
    return kept


def _limit(axes: Axes, points: Mapping[str, tuple[float, Interval]]) -> None:
    """Half a decade and a tenth of the spread to each side."""
    costs = [cost for cost, _ in points.values()]
    low, high = min(at[1] for _, at in points.values()), max(at[2] for _, at in points.values())
    spread = (high - low) or 0.1
    axes.set_xlim(min(costs) / 3, max(costs) * 3)
    axes.set_ylim(low - 0.1 * spread, high + 0.1 * spread)


def _label(axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Names beside their points, moved apart where they would touch; a thin line leads to one that was moved far."""
    (left, right), (bottom, top) = np.log10(axes.get_xlim()), axes.get_ylim()
    at = {
        model: ((np.log10(x) - left) / (right - left) * _SPACE[0], (y - bottom) / (top - bottom) * _SPACE[1])
        for model, (x, y) in points.items()
    }
    for model, (side, shift, _) in spots(at).items():
        axes.annotate(
            short(model, 20), points[model], (8 * side, shift), textcoords="offset points", fontsize=9.5, color=INK,
            ha="left" if side > 0 else "right", va="center",
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.5},
            arrowprops=_LEADER | {"relpos": (0.0 if side > 0 else 1.0, 0.5)} if abs(shift) > _LINE else None,
        )  # fmt: skip


def spots(at: Mapping[str, tuple[float, float]]) -> dict[str, Spot]:
    """Where the names of points (x, y) in an area of _SPACE stand: the highest point chooses first."""
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in at.values()]
    found: dict[str, Spot] = {}
    for model in sorted(at, key=lambda model: (-at[model][1], model)):
        found[model] = _free(at[model], _CHARACTER * len(short(model, 20)), taken)
        taken.append(found[model][2])
    return found


def _free(point: tuple[float, float], width: float, taken: Sequence[Box]) -> Spot:
    """The nearest one that touches nothing, or else the very nearest."""
    tries = list(_places(point, width))
    return next((found for found in tries if not any(_touch(found[2], box) for box in taken)), tries[0])


def _places(point: tuple[float, float], width: float) -> Iterator[Spot]:
    """Where a label may stand within the axes, the nearest first."""
    x, y = point
    sides = [side for side in (1, -1) if 0 <= x + side * (8 + width) <= _SPACE[0]] or [1]
    for step in _SHIFTS:
        for side in sides:
            middle = y + step * _LINE
            if 0 <= middle <= _SPACE[1]:
                near, far = sorted((x + 8 * side, x + side * (8 + width)))
                yield side, step * _LINE, (near, middle - _LINE / 2, far, middle + _LINE / 2)


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
