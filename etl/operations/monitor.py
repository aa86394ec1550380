"""The monitoring job: figures of each day -> ``monitoring``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, day_number, shift_ds
from etl.contract.settings import config_hash
from etl.errors import MissingDataError
from etl.lake import Lake
from etl.operations.config import COVERAGE, DAYS_BEHIND, PSI, REJECT_SHARE, ROWS, SNAPSHOT_AGE
from etl.operations.coverage import coverage, impressions
from etl.operations.errors import MonitoringGateError
from etl.operations.feature_drift import drift_by_day
from etl.operations.figures import Figure, broken, unmeasured
from etl.runs import Run
from etl.write import Output, replace_partitions

COUNTED = (c.EVENTS, c.EVENTS_REJECTED, c.INTERACTIONS_DAILY, c.INTERACTIONS, c.CANDIDATES, c.SCORES)
#: Tables that a day is expected in, and those whose newest snapshot counts.
DAILY, CATALOGUES = (c.EVENTS, c.INTERACTIONS, c.CANDIDATES, c.SCORES), (c.ITEMS, c.QUERIES)
SCHEMA = "ds string, metric string, part string, value double"


@dataclass(frozen=True)
class Monitored:
    days: DateRange
    figures: tuple[Figure, ...]
    broken: tuple[str, ...]
    """Gates that do not hold."""
    warnings: tuple[str, ...]

    def require_gates(self) -> None:
        """MonitoringGateError if a gate does not hold."""
        if self.broken:
            raise MonitoringGateError(list(self.broken), list(self.warnings))


def monitor(lake: Lake, config: EtlConfig, days: DateRange, baseline: str | None = None) -> Monitored:
    """Measure ``days`` and write them to ``monitoring``, in place of what was measured before.

    ``baseline`` is the day that PSI compares with; without it, the one ``monitor.baseline_days`` before each. Judges
    the limits and raises nothing for them. Raises MissingDataError for a lake without events.
    """
    if not lake.exists(c.EVENTS):
        raise MissingDataError(c.EVENTS, None, lake.path(c.EVENTS))
    figures = sorted(_figures(lake, config, days, baseline), key=lambda one: (one.ds, one.metric, one.part))
    rows = [(one.ds, one.metric, one.part, float(one.value)) for one in figures]
    inputs = {table: version for table, version in lake.pinned.items() if table != c.MONITORING}
    run = Run("monitor", config_hash(config), inputs=inputs)
    frame = lake.spark.createDataFrame(rows, SCHEMA)
    replace_partitions(lake, [Output(c.MONITORING, frame, days, ("metric", "part"))], run)
    settings = config.monitor
    absent = unmeasured(figures, days, [*settings.gates, *settings.warnings])
    warnings = (*broken(figures, settings.warnings), *absent)
    return Monitored(days, tuple(figures), tuple(broken(figures, settings.gates)), warnings)


def _figures(lake: Lake, config: EtlConfig, days: DateRange, baseline: str | None) -> Iterator[Figure]:
    counts = {table: _counts(lake, table, days) for table in COUNTED if lake.exists(table)}
    for table, by_day in counts.items():
        yield from (Figure(ds, ROWS, table, by_day.get(ds, 0)) for ds in days)
    yield from _reject_shares(days, counts)
    yield from _freshness(lake, days)
    if lake.exists(c.INTERACTIONS):
        seen = days.shift(-1 - config.interactions.lag_days)
        shown = impressions(lake.read(c.EVENTS, days), config)
        yield from _by_part(COVERAGE, coverage(shown, lake.read(c.INTERACTIONS, seen), config))
        if config.monitor.sample_rows:
            against = {ds: baseline or shift_ds(ds, -config.monitor.baseline_days) for ds in days}
            yield from _by_part(PSI, drift_by_day(lake, config, against))


def _counts(lake: Lake, table: str, days: DateRange) -> dict[str, int]:
    rows = lake.read(table, days).groupBy("ds").agg(F.count(F.lit(1)).alias("rows"))
    return {row.ds: row.rows for row in rows.toLocalIterator()}


def _reject_shares(days: DateRange, counts: Mapping[str, Mapping[str, int]]) -> Iterator[Figure]:
    for ds in days:
        kept, refused = (counts.get(table, {}).get(ds, 0) for table in (c.EVENTS, c.EVENTS_REJECTED))
        if kept + refused:
            yield Figure(ds, REJECT_SHARE, "", refused / (kept + refused))


def _freshness(lake: Lake, days: DateRange) -> Iterator[Figure]:
    for metric, tables in ((DAYS_BEHIND, DAILY), (SNAPSHOT_AGE, CATALOGUES)):
        for table in tables:
            held = lake.days_of(table)
            for ds in days:
                # Later days may have come since: what counts is how the lake stood on the day.
                newest = max((day for day in held if day <= ds), default=None)
                if newest is not None:
                    yield Figure(ds, metric, table, day_number(ds) - day_number(newest))


def _by_part(metric: str, by_day: Mapping[str, Mapping[str, float]]) -> Iterator[Figure]:
    for ds, parts in by_day.items():
        yield from (Figure(ds, metric, part, value) for part, value in parts.items())
