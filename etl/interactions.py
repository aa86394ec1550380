"""The interactions job: events -> daily partials -> tiles -> the windowed table of each asked ds."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.caching import Cached
from etl.config import EtlConfig
from etl.conflicts import require_unchanged, signature
from etl.contract import columns as c
from etl.contract.dates import DateRange, day_number, ds_of_number, ranges_of
from etl.contract.settings import config_hash
from etl.definitions import definition_hash
from etl.errors import LostEventsError
from etl.exchange import Tasks
from etl.kernels.blobs import BUCKET, PART, TABLE
from etl.lake import Lake
from etl.partials import daily_tables, interactions_daily, queries_daily, tiles_of_days
from etl.parts import BUCKETS, looked_up, tables_of_parts
from etl.plan import DAILY, DERIVED, FRESH, TILES, History, Step, plan, read_history, require_written
from etl.positions import position_priors
from etl.priors import daily_moments, priors
from etl.quality.gate import gate
from etl.quality.interactions import profile_of_tables
from etl.quality.profiles import rows_of_profile
from etl.query_items import best_items, can_rank
from etl.recovery import record_lost_commits
from etl.runs import Run
from etl.skew import day_buckets, size_of, tile_buckets
from etl.tiles import TILE_DAYS, covers, table_of
from etl.windows import plain_rows, tiles, windowed
from etl.write import Output, Recorder, Written, write_chains
from etl.write_errors import ChangedMeanwhileError

_LOG = logging.getLogger(__name__)
#: So often a plan is made when others write what it builds on.
_PLANS = 3

Tick: TypeAlias = Callable[[str], None]
"""Told what has just been finished."""


def build_interactions(
    lake: Lake, config: EtlConfig, days: DateRange, tick: Tick = lambda done: None, again: bool = False
) -> list[Written]:
    """Build ``interactions`` of ``days``, after the partials and tiles that it needs and that are missing or stale.

    ``again`` builds the partials of ``days`` whatever their state: their files may be damaged.

    Raises MissingDataError for days that were never ingested, GateError before a bad day is published.
    """

    def steps(history: History) -> list[Step]:
        require_written(history, lake, c.EVENTS, days)
        return plan(history, config, days, again=True, partials_again=again)

    return _build(lake, config, steps, tick)[1]


def backfill_interactions(
    lake: Lake, config: EtlConfig, days: DateRange, tick: Tick = lambda done: None
) -> tuple[list[Step], list[Step]]:
    """Build exactly what is not fresh of ``days``; returns that, and the days of events that wait for their raw log."""
    due = _build(lake, config, lambda history: plan(history, config, days), tick)[0]
    return [step for step in due if step.table != c.EVENTS], [step for step in due if step.table == c.EVENTS]


def _build(
    lake: Lake, config: EtlConfig, make: Callable[[History], list[Step]], tick: Tick
) -> tuple[list[Step], list[Written]]:
    """Plan, and build what is not fresh, sources first; returns these steps and what was written.

    Raises ChangedMeanwhileError where others keep writing the partials that it sums up.
    """
    due: dict[tuple[str, str], Step] = {}
    written: list[Written] = []
    for attempt in range(1, _PLANS + 1):
        seen = _seen(lake)
        history = read_history(lake, (c.EVENTS, *DERIVED))
        steps = [step for step in make(history) if step.state != FRESH]
        _require_events(steps, history)
        due |= {(step.table, step.ds): step for step in steps}
        try:
            with Recorder(lake) as tell:
                for job in _jobs(steps, config):
                    for one in _run(lake, config, job, seen, tell):
                        written.append(one)
                        tick(f"{one.table} {one.days}: {one.rows} rows")
            break
        except ChangedMeanwhileError as error:
            if attempt == _PLANS:
                raise
            _LOG.warning("%s Planning anew, attempt %d of %d.", error, attempt + 1, _PLANS)
    return list(due.values()), written


def _require_events(steps: list[Step], history: History) -> None:
    """Raise LostEventsError for partials that are to be built again from events that are gone."""
    gone = [step for step in steps if step.table in DAILY and step.ds not in history[c.EVENTS]]
    if gone:
        days = sorted(step.ds for step in gone)
        raise LostEventsError(gone[0].table, DateRange(days[0], days[-1]))


@dataclass
class _Seen:
    """What a plan knows of the partials: all commits up to a version, and its own later ones."""

    version: int
    ours: set[str] = field(default_factory=set)


def _seen(lake: Lake) -> _Seen:
    """Pinned before ``runs`` is read, and all of it recorded there: what the plan does not know of is newer."""
    for table in (c.EVENTS, *DERIVED, table_of(1)):
        lake.refresh(table)
    version = lake.seen(c.INTERACTIONS_DAILY)
    record_lost_commits(lake, (c.EVENTS, table_of(1), c.INTERACTIONS_DAILY))
    return _Seen(version)


# Days whose tiles are merged in one job, a multiple of the longest tile: a bucket holds the pairs of all of them.
_TILE_JOB_DAYS = 256

Job: TypeAlias = dict[str, list[DateRange]]
"""Days to write by table: tables that have the same sources and the same definition."""


def _jobs(steps: list[Step], config: EtlConfig) -> Iterator[Job]:
    size = config.interactions.days_per_job
    for chunk in _chunks([step.ds for step in steps if step.table in DAILY], size):
        yield {table: ranges_of([step.ds for step in steps if step.table == table and step.ds in chunk])
               for table in DAILY}  # fmt: skip
    due = [step for step in steps if step.table in TILES]
    for block in sorted({day_number(step.ds) // _TILE_JOB_DAYS for step in due}):
        of_block = [step for step in due if day_number(step.ds) // _TILE_JOB_DAYS == block]
        firsts = {table: [step.ds for step in of_block if step.table == table] for table in TILES}
        yield {table: _rows_of_tiles(table, days) for table, days in firsts.items() if days}
    for chunk in _chunks([step.ds for step in steps if step.table == c.INTERACTIONS], size):
        yield {c.INTERACTIONS: [chunk]}


def _chunks(days: list[str], size: int) -> list[DateRange]:
    return [chunk for span in ranges_of(days) for chunk in span.chunks(size)]


def _run(lake: Lake, config: EtlConfig, job: Job, seen: _Seen, tell: Recorder) -> list[Written]:
    [hashed] = {definition_hash(table, config) for table in job}
    sources = sorted({source for table in job for source in DERIVED[table]})
    inputs = {source: lake.version(source) for source in sources}
    run = Run("interactions", config_hash=config_hash(config), definition_hash=hashed, inputs=inputs)
    if c.INTERACTIONS_DAILY in inputs:
        own = signature(run, _read_by(job, config), {})
        require_unchanged(lake, c.INTERACTIONS_DAILY, own, seen.version, inputs[c.INTERACTIONS_DAILY], seen.ours)
    with Cached() as keep:
        if c.INTERACTIONS in job:
            chains = [_windows(lake, config, days, keep) for days in job[c.INTERACTIONS]]
        elif c.INTERACTIONS_DAILY in job:
            chains = _partials(lake, config, job, keep)
        else:
            chains = _tiles(lake, config, job, keep)
        written = write_chains(lake, chains, run)
    tell(run, written)
    if c.INTERACTIONS_DAILY in job:
        seen.ours.add(run.run_id)
        # The tables of a day are read as they are beside the partials that are read: others may have written since.
        lake.refresh(table_of(1))
    return written


def _read_by(job: Job, config: EtlConfig) -> DateRange:
    """The days of partials that windows or tiles are made from."""
    before = config.interactions.longest_days - 1 if c.INTERACTIONS in job else 0
    after = max((_length(table) - 1 for table in job if table in TILES), default=0)
    spans = [span for of_table in job.values() for span in of_table]
    return DateRange(min(span.start for span in spans), max(span.end for span in spans)).widen(before, after)


def _partials(lake: Lake, config: EtlConfig, job: Job, keep: Cached) -> list[list[Output]]:
    actions, segments = config.events.actions, config.events.segments
    pairs, queries = [], []
    for days in job[c.INTERACTIONS_DAILY]:
        events = lake.read(c.EVENTS, days)
        buckets = day_buckets(events, days, lake.tasks)
        positions = position_priors(events, actions) if "coec" in config.interactions.families else None
        tables = keep(daily_tables(events, actions, segments, buckets, lake.tasks, positions))
        of_day = tiles_of_days(tables, actions, buckets)
        # The working copy first: whoever sees the newer partial finds it.
        pairs.append(Output(table_of(1), of_day, days, c.PAIR_KEY, placed=True))
        daily = interactions_daily(tables, actions, expected=positions is not None)
        pairs.append(Output(c.INTERACTIONS_DAILY, daily, days, c.PAIR_KEY, placed=True))
    for days in job[c.QUERIES_DAILY]:
        frame = queries_daily(lake.read(c.EVENTS, days), actions, segments)
        queries.append(Output(c.QUERIES_DAILY, frame, days, c.QUERY_KEY))
    return [pairs, queries]


def _tiles(lake: Lake, config: EtlConfig, job: Job, keep: Cached) -> list[list[Output]]:
    due = [tile for table, firsts in job.items() for span in firsts for tile in _tiles_of(table, span)]
    days = sorted({ds for tile in due for ds in tile})
    spread, slices = tile_buckets(lake.read(c.QUERIES_DAILY).where(F.col("ds").isin(days)), config, lake.tasks)
    tables = keep(tiles(tables_of_parts(lake, [DateRange(ds, ds) for ds in days]), days, due, config, spread, slices))
    bucket = F.pmod(BUCKET, F.lit(spread.buckets)).alias(BUCKET)
    chains = []
    for table, firsts in job.items():
        starts = {place: tile.start for place, tile in enumerate(due) if table == table_of(len(tile))}
        of_table = tables.where(F.col(PART).isin(list(starts)))
        rows = of_table.select(looked_up(PART, starts).alias("ds"), bucket, F.lit(spread.buckets).alias(BUCKETS), TABLE)
        chains.append([Output(table, rows, span, c.PAIR_KEY, placed=True) for span in firsts])
    return chains


def _rows_of_tiles(table: str, firsts: list[str]) -> list[DateRange]:
    """Tiles that follow each other, from the first day of the first to the first day of the last."""
    length = _length(table)
    places = [ds_of_number(day_number(first) // length) for first in firsts]
    return [
        DateRange(*(ds_of_number(day_number(edge) * length) for edge in (row.start, row.end)))
        for row in ranges_of(places)
    ]


def _tiles_of(table: str, firsts: DateRange) -> list[DateRange]:
    length = _length(table)
    return [DateRange(ds, ds).widen(after=length - 1) for ds in firsts.days()[::length]]


def _length(table: str) -> int:
    return TILE_DAYS[1 + TILES.index(table)]


def _windows(lake: Lake, config: EtlConfig, days: DateRange, keep: Cached) -> list[Output]:
    tables = keep(_window_tables(lake, config, days, keep))
    gate(c.INTERACTIONS, rows_of_profile(profile_of_tables(tables, config)), config)
    frame = plain_rows(tables, config)
    windows = Output(c.INTERACTIONS, frame, days, c.PAIR_KEY, placed=True)
    if not can_rank(config):
        return [windows]
    return [Output(c.QUERY_ITEMS, best_items(frame, config), days, ("query_key",)), windows]


def _window_tables(lake: Lake, config: EtlConfig, days: DateRange, keep: Cached) -> DataFrame:
    settings = config.interactions
    parts = covers(days, settings.edges_days)
    reach, before = days.widen(before=settings.longest_days - 1), None
    if {"rate", "coec"} & set(settings.families):
        actions = config.events.actions
        before = priors(daily_moments(lake, reach, actions), days, actions, settings)
    size = size_of(lake.read(c.QUERIES_DAILY, reach), days, config, lake.tasks)
    spread = Tasks.of(lake.tasks, size.events)
    return windowed(tables_of_parts(lake, parts), parts, days, before, config, spread, size.heavy, keep)
