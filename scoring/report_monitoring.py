"""The monitored figures as plots over time."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from etl.operations.config import COVERAGE, DAYS_BEHIND, PSI, REJECT_SHARE, ROWS, SNAPSHOT_AGE
from etl.operations.figures import Figure
from scoring.time_plots import over_time

_MOST_FEATURES = 6
_SHARES = (COVERAGE, REJECT_SHARE)
_TITLES = {
    ROWS: "Rows by table",
    COVERAGE: "Share with interactions",
    REJECT_SHARE: "Share of refused rows",
    DAYS_BEHIND: "Days behind",
    SNAPSHOT_AGE: "Age of the newest snapshot, days",
    PSI: "PSI against the baseline day",
}

Series = dict[str, dict[str, float]]


def monitoring_figures(figures: Iterable[Figure]) -> Iterator[tuple[Any, ...]]:
    """(name, title, plot, and what it draws) of each metric that was measured."""
    by_metric: dict[str, Series] = {}
    for one in figures:
        by_metric.setdefault(one.metric, {}).setdefault(one.part, {})[one.ds] = one.value
    for metric, title in _TITLES.items():
        series = by_metric.get(metric)
        if series:
            drawn = _largest(series) if metric == PSI else series
            yield f"monitor-{metric}", title, over_time, drawn, metric in _SHARES


def _largest(series: Mapping[str, dict[str, float]]) -> Series:
    """The features that moved most on the newest day; a feature that was not measured then comes last."""
    newest = max(ds for values in series.values() for ds in values)
    order = sorted(series, key=lambda name: (-series[name].get(newest, -1.0), name))
    return {name: series[name] for name in order[:_MOST_FEATURES]}
