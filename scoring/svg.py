"""Figures as inline SVG: one look, colours by name so that the page decides on light or dark, the same bytes each time.

Every figure is WIDTH points wide and scales by its viewBox; text stays text and takes the page's font.
"""

import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

#: Narrow on purpose: a phone shrinks it by a quarter only, a wide screen holds two side by side.
WIDTH = 480.0

INK, MUTED, GRID, ACCENT, PAPER = "#1b1f24", "#5c6670", "#dde2e7", "#44597a", "#fdfdfe"
#: Okabe and Ito's colours, told apart with any colour vision, but for the faint yellow.
_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31")
_MARKERS = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("X", "✖"))
#: The usual models look the same in every report.
_FIXED = ("interactrank", "two_tower", "bm25")

_NAMES = {INK: "ink", MUTED: "muted", GRID: "grid", ACCENT: "accent", PAPER: "paper"} | {
    color: f"m{index}" for index, color in enumerate(_PALETTE)
}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    # A name with dollar signs is a name, not mathematics.
    "text.parse_math": False,
    "font.size": 11.0,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "figure.facecolor": "none",
    "xtick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.color": GRID,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Style:
    """How a model is drawn everywhere: ``slot`` names the page's colour, ``glyph`` its marker as a character."""

    color: str
    slot: str
    marker: str
    glyph: str


def model_styles(names: Iterable[str]) -> dict[str, Style]:
    """A style per name; the usual models keep theirs, others follow in the order given.

    After seven the colours come again with other markers: 49 looks, then all over.
    """
    rest = sorted({*names} - {*_FIXED}, key=list(names).index)
    ordered = [*_FIXED, *rest]
    count = len(_PALETTE)
    looks = [
        Style(_PALETTE[i % count], f"m{i % count}", *_MARKERS[(i + i // count) % count]) for i in range(len(ordered))
    ]
    return dict(zip(ordered, looks, strict=True))


def draw(name: str, height: float, plot: Callable[[Figure], None]) -> str:
    """The SVG of a figure that ``plot`` fills. ``name`` must be unique on the page; ``height`` is in points."""
    with rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        FigureCanvasSVG(figure)
        plot(figure)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    return _inline(buffer.getvalue(), name)


def rows_axes(axes: Axes, labels: list[str]) -> None:
    """Make the y axis a list of labelled rows, the first on top, without lines between them."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def short(text: str, most: int = 34) -> str:
    """A label that leaves room for the plot."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _inline(svg: str, name: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    # Tags only: what a label says stays as it is.
    return re.sub(r"<[^>]*>", lambda tag: _tag(tag.group(), name), svg)


def _tag(tag: str, name: str) -> str:
    if tag.startswith("<svg"):
        view = re.search(r'viewBox="[^"]*"', tag)
        return f'<svg {view.group() if view else ""} aria-hidden="true">'
    tag = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", tag)
    tag = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    tag = re.sub(r" ?font-family: [^;\"]*;?", "", tag)
    return re.sub(r"#[0-9a-f]{6}\b", _variable, tag)


def _variable(color: re.Match[str]) -> str:
    name = _NAMES.get(color.group())
    return f"var(--{name})" if name else color.group()
