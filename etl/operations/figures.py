"""One monitored figure, and what of it breaks a limit. Pure: no Spark, no tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from etl.operations.config import Limit

TIERS = ("head", "torso", "tail")
_SHOWN = 5


@dataclass(frozen=True)
class Figure:
    """A row of ``monitoring``; ``part`` is a table, a tier, a feature, or empty."""

    ds: str
    metric: str
    part: str
    value: float

    @property
    def label(self) -> str:
        return f"{self.metric}.{self.part}" if self.part else self.metric


@dataclass(frozen=True)
class QueryGroup:
    """The queries of a day that were shown ``shown`` items each: how many they are, and how many of them are known."""

    shown: int
    queries: int
    known: int


def tier_shares(groups: Sequence[QueryGroup]) -> dict[str, float]:
    """Share of known queries by tier; a tier without queries is left out.

    The most shown queries that together hold a third of what was shown are head, those of the next third torso, the
    rest tail. Queries that were shown alike are of one tier: that in which the first of them would be.
    """
    total = sum(group.shown * group.queries for group in groups)
    held = dict.fromkeys(TIERS, (0, 0))
    before = 0
    for group in sorted(groups, key=lambda group: -group.shown):
        tier = TIERS[min(before * 3 // max(total, 1), 2)]
        queries, known = held[tier]
        held[tier] = (queries + group.queries, known + group.known)
        before += group.shown * group.queries
    return {tier: known / queries for tier, (queries, known) in held.items() if queries}


def broken(figures: Iterable[Figure], limits: Mapping[str, Limit]) -> list[str]:
    """A line per limit that some figure breaks, with the worst of them first."""
    figures = list(figures)
    lines = []
    for key, limit in limits.items():
        over = [figure for figure in _of(figures, key) if not limit.allows(figure.value)]
        if over:
            over.sort(key=lambda figure: (-_distance(figure.value, limit), figure.ds, figure.part))
            named = ", ".join(f"{one.label} of {one.ds} is {one.value:.4g}" for one in over[:_SHOWN])
            more = f" and {len(over) - _SHOWN} more" if len(over) > _SHOWN else ""
            lines.append(f"{named}{more}; {limit} is allowed")
    return lines


def unmeasured(figures: Iterable[Figure], days: Iterable[str], limits: Iterable[str]) -> list[str]:
    """A line per limit and day that no figure stands for: neither kept nor broken."""
    figures = list(figures)
    lines = []
    for key in dict.fromkeys(limits):
        measured = {figure.ds for figure in _of(figures, key)}
        absent = [ds for ds in days if ds not in measured]
        if absent:
            lines.append(f"{key} could not be measured on {', '.join(absent[:_SHOWN])}")
    return lines


def _of(figures: Iterable[Figure], key: str) -> list[Figure]:
    return [figure for figure in figures if key in (figure.metric, figure.label)]


def _distance(value: float, limit: Limit) -> float:
    return max(limit.min - value if limit.min is not None else 0.0, value - limit.max if limit.max is not None else 0.0)
