"""The interactions job: events -> daily partials -> tiles -> the windowed table of each asked ds."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from pyspark.sql import DataFrame

from etl.caching import Cached
from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, day_number, ds_of_number, ranges_of
from etl.contract.settings import digest
from etl.definitions import definition_hash
from etl.lake import Lake
from etl.partials import interactions_daily, queries_daily
from etl.parts import part_rows, rows_of_parts
from etl.plan import DERIVED, FRESH, TILES, Step, plan, read_history, require_written
from etl.priors import priors
from etl.quality.gate import gate
from etl.quality.interactions import profile_of_tables
from etl.quality.profiles import rows_of_profile
from etl.query_items import best_items, can_rank
from etl.runs import Run
from etl.skew import size_of
from etl.tiles import TILE_DAYS, covers
from etl.windows import Tasks, plain_rows, tile_figures, tiles, window_figures, windowed
from etl.write import Output, RunLog, Written, write_partitions

Tick: TypeAlias = Callable[[str], None]
"""Told what has just been finished."""

#: The daily partials.
DAILY = (c.INTERACTIONS_DAILY, c.QUERIES_DAILY)


def build_interactions(lake: Lake, config: EtlConfig, days: DateRange, tick: Tick = lambda done: None) -> list[Written]:
    """Build ``interactions`` of ``days``, after the partials and tiles that it needs and that are missing or stale.

    Raises MissingDataError for days that were never ingested, GateError before a bad day is published.
    """
    history = read_history(lake, (c.EVENTS, *DERIVED))
    require_written(history, lake, c.EVENTS, days)
    return run_steps(lake, config, plan(history, config, days, again=True), tick)


def run_steps(lake: Lake, config: EtlConfig, steps: list[Step], tick: Tick = lambda done: None) -> list[Written]:
    """Build exactly what is not fresh of a plan's steps, sources first."""
    written = []
    with RunLog(lake) as log:
        for job in _jobs([step for step in steps if step.state != FRESH], config):
            for one in _run(lake, config, job, log):
                written.append(one)
                tick(f"{one.table} {one.days}: {one.rows} rows")
    return written


Job: TypeAlias = list[tuple[str, DateRange]]
"""Tables and days that are written by one run: they have the same sources and the same definition."""


def _jobs(steps: list[Step], config: EtlConfig) -> Iterator[Job]:
    size = config.interactions.days_per_job
    for chunk in _chunks([step.ds for step in steps if step.table in DAILY], size):
        days = {table: [step.ds for step in steps if step.table == table and step.ds in chunk] for table in DAILY}
        yield [(table, span) for table in DAILY for span in ranges_of(days[table])]
    tiles_ = [(table, span) for table in TILES for span in _rows_of_tiles(table, steps)]
    if tiles_:
        yield tiles_
    for chunk in _chunks([step.ds for step in steps if step.table == c.INTERACTIONS], size):
        yield [(c.INTERACTIONS, chunk)]


def _chunks(days: list[str], size: int) -> list[DateRange]:
    return [chunk for span in ranges_of(days) for chunk in span.chunks(size)]


def _rows_of_tiles(table: str, steps: list[Step]) -> list[DateRange]:
    """Tiles that follow each other, from the first day of the first to the first day of the last."""
    length = TILE_DAYS[TILES.index(table)]
    places = [ds_of_number(day_number(step.ds) // length) for step in steps if step.table == table]
    return [
        DateRange(*(ds_of_number(day_number(edge) * length) for edge in (row.start, row.end)))
        for row in ranges_of(places)
    ]


def _run(lake: Lake, config: EtlConfig, job: Job, log: RunLog) -> list[Written]:
    [hashed] = {definition_hash(table, config) for table, _ in job}
    sources = sorted({source for table, _ in job for source in DERIVED[table]})
    inputs = {source: lake.version(source) for source in sources}
    run = Run("interactions", config_hash=digest(config), definition_hash=hashed, inputs=inputs)
    with Cached() as keep:
        outputs = [output for table, days in job for output in _outputs(lake, config, table, days, keep)]
        written = write_partitions(lake, outputs, run)
    log.add(run, written)
    return written


def _outputs(lake: Lake, config: EtlConfig, table: str, days: DateRange, keep: Cached) -> list[Output]:
    actions, segments, tasks = config.events.actions, config.events.segments, lake.tasks
    if table == c.INTERACTIONS_DAILY:
        frame = interactions_daily(lake.read(c.EVENTS, days), actions, segments, days, tasks)
        return [Output(table, frame, days, c.PAIR_KEY, placed=True)]
    if table == c.QUERIES_DAILY:
        return [Output(table, queries_daily(lake.read(c.EVENTS, days), actions, segments), days, c.QUERY_KEY)]
    if table in TILES:
        return [Output(table, _tiles(lake, config, table, days), days, c.PAIR_KEY, placed=True)]
    tables = keep(_windows(lake, config, days))
    gate(c.INTERACTIONS, rows_of_profile(profile_of_tables(tables, config)), config)
    frame = plain_rows(tables, config)
    windows = Output(c.INTERACTIONS, frame, days, c.PAIR_KEY, placed=True)
    if not can_rank(config):
        return [windows]
    return [Output(c.QUERY_ITEMS, best_items(frame, config), days, ("query_key",)), windows]


def _tiles(lake: Lake, config: EtlConfig, table: str, firsts: DateRange) -> DataFrame:
    length = TILE_DAYS[TILES.index(table)]
    held = firsts.widen(after=length - 1)
    daily = part_rows(lake.read(c.INTERACTIONS_DAILY, held), 1, tile_figures(config))
    events = size_of(lake.read(c.QUERIES_DAILY, held), firsts, config, lake.tasks).events
    return tiles(daily, length, config, Tasks.of(lake.tasks, events))


def _windows(lake: Lake, config: EtlConfig, days: DateRange) -> DataFrame:
    settings = config.interactions
    parts = covers(days, settings.windows_days)
    reach, before = days.widen(before=settings.longest_days - 1), None
    if "rate" in settings.families:
        before = priors(lake.read(c.INTERACTIONS_DAILY, reach), days, config.events.actions, settings)
    size = size_of(lake.read(c.QUERIES_DAILY, reach), days, config, lake.tasks)
    rows = rows_of_parts(lake, parts, window_figures(config))
    return windowed(rows, parts, days, before, config, Tasks.of(lake.tasks, size.events), size.heavy)
