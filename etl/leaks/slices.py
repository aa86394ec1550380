"""A slice of a lake, copied to a scratch folder: whole queries chosen by hash, and the days that their rows can see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.catalogues import GRAIN, snapshot_days
from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, ranges_of, shift_ds
from etl.contract.errors import UsageError
from etl.contract.settings import config_hash
from etl.definitions import definition_hash
from etl.lake import Lake
from etl.maturity import reach_days
from etl.plan import read_history
from etl.runs import Run
from etl.write import Output, replace_partitions

# Shares of queries are told apart to this part of all.
_PARTS = 1_000_000
#: An export looks back so many days for where a request began (see etl.training_frames).
REQUEST_DAYS = 7

CATALOGUES = (c.ITEMS, c.QUERIES)

Snapshots: TypeAlias = tuple[DataFrame, list[str]]
"""A catalogue and the days that it has snapshots of."""


@dataclass(frozen=True)
class Sample:
    """What was copied: the share of all queries, and the queries, requests and events that it holds of the range."""

    share: float
    queries: int
    requests: int
    events: int


def needed_days(days: DateRange, config: EtlConfig) -> DateRange:
    """Every day whose events a row of ``days`` may see, and those that hold the rest of its request."""
    window = config.export.label_window_days
    interactions = config.interactions.longest_days + config.interactions.lag_days
    before = max(interactions, config.export.history_days, REQUEST_DAYS, window)
    return days.widen(before=before, after=reach_days(window))


def sampled(lake: Lake, days: DateRange, requests: int, seed: int) -> tuple[DataFrame, float]:
    """All events of a share of the queries, chosen so that about ``requests`` begin in ``days``; and the share."""
    events = lake.read(c.EVENTS)
    [total] = events.where(_within(days)).agg(F.approx_count_distinct("request_id").alias("n")).toLocalIterator()
    parts = min(_PARTS, -(-requests * _PARTS // max(1, total.n)))
    place = F.pmod(F.xxhash64(F.lit(seed), "query_key"), F.lit(_PARTS))
    return (events if parts == _PARTS else events.where(place < parts)), parts / _PARTS


def described(events: DataFrame, days: DateRange, share: float) -> Sample:
    """UsageError if no request of ``days`` is in the sample."""
    counts = [F.count_distinct(name) for name in ("query_key", "request_id")]
    [found] = events.where(_within(days)).agg(*counts, F.count(F.lit(1))).toLocalIterator()
    if not found[1]:
        raise UsageError(f"no request of {days} is in the sample ({share:.4%} of the queries): raise --sample-requests")
    return Sample(share, *found)


def written_days(lake: Lake, days: DateRange) -> list[DateRange]:
    """The runs of ``days`` that the lake's events were ever written for, empty days among them."""
    history = read_history(lake, (c.EVENTS,))[c.EVENTS]
    return ranges_of([ds for ds in days if ds in history])


def snapshots_seen(lake: Lake, table: str, days: DateRange, lag_days: int) -> list[str]:
    """The days of a catalogue's snapshots that rows and events of ``days`` may see; [] without the catalogue."""
    held = [ds for ds in lake.days_of(table) if ds <= days.end]
    first = snapshot_days(held, shift_ds(days.start, -1 - lag_days))
    return [ds for ds in held if first is None or ds >= first]


def write_slice(
    lake: Lake, config: EtlConfig, events: DataFrame, spans: Sequence[DateRange], catalogues: Mapping[str, Snapshots]
) -> None:
    """Fill a scratch lake, as if its events had been ingested on these days."""
    run = Run("check --leaks", config_hash=config_hash(config), definition_hash=definition_hash(c.EVENTS, config))
    outputs = [Output(c.EVENTS, events, span, ("query_key", "event_id")) for span in spans]
    for table, (frame, held) in catalogues.items():
        outputs += [Output(table, frame, span, GRAIN[table]) for span in ranges_of(held)]
    replace_partitions(lake, outputs, run)


def _within(days: DateRange) -> Column:
    return F.col("ds").between(days.start, days.end)
