"""Monitored figures as Prometheus text: for a push gateway, or node exporter's textfile collector."""

from collections.abc import Sequence

from etl.contract.dates import day_number
from etl.operations.config import METRICS
from etl.operations.figures import Figure


def prometheus_text(figures: Sequence[Figure]) -> str:
    """Those of the newest day, without timestamps (the collector takes none), and which day that is."""
    newest = max((figure.ds for figure in figures), default=None)
    if newest is None:
        return ""
    lines = _head("prerank_monitored_day_seconds", "the monitored day, as seconds since 1970")
    lines.append(f"prerank_monitored_day_seconds {day_number(newest) * 86_400}")
    for metric, words in METRICS.items():
        of_metric = sorted(
            (one for one in figures if one.ds == newest and one.metric == metric), key=lambda one: one.part
        )
        if of_metric:
            name = f"prerank_{metric}"
            lines += _head(name, words)
            lines += [f"{name}{_labels(one.part)} {one.value!r}" for one in of_metric]
    return "\n".join(lines) + "\n"


def _head(name: str, words: str) -> list[str]:
    return [f"# HELP {name} {words}", f"# TYPE {name} gauge"]


def _labels(part: str) -> str:
    escaped = part.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'{{part="{escaped}"}}' if part else ""
