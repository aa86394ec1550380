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
from etl.packed import packed_days, packed_parts
from etl.partials import interactions_daily, queries_daily
from etl.plan import DERIVED, FRESH, TILES, Step, lake_plan, require_source
from etl.priors import priors
from etl.quality.gate import gate
from etl.quality.profiles import profile
from etl.query_items import best_items, can_rank
from etl.runs import Run
from etl.skew import heavy_queries
from etl.tiles import TILE_DAYS, covers
from etl.windows import tile_figures, tiles, window_figures, windowed
from etl.write import Output, Written, replace_partitions

Tick: TypeAlias = Callable[[str], None]
"""Told what has just been finished."""

#: The daily partials, each with the columns of its grain beside ds.
DAILY = {
    c.INTERACTIONS_DAILY: (interactions_daily, c.PAIR_KEY),
    c.QUERIES_DAILY: (queries_daily, c.QUERY_KEY),
}


def build_interactions(lake: Lake, config: EtlConfig, days: DateRange, tick: Tick = lambda done: None) -> list[Written]:
    """Build ``interactions`` of ``days``, after the partials and tiles that it needs and that are missing or stale.

    Raises MissingDataError for days that were never ingested, GateError before a bad day is published.
    """
    require_source(lake, c.EVENTS, days)
    return run_steps(lake, config, lake_plan(lake, config, days, again=True), tick)


def run_steps(lake: Lake, config: EtlConfig, steps: list[Step], tick: Tick = lambda done: None) -> list[Written]:
    """Build exactly what is not fresh of a plan's steps, sources first."""
    written = []
    for job in _jobs([step for step in steps if step.state != FRESH], config):
        for one in _run(lake, config, job):
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


def _run(lake: Lake, config: EtlConfig, job: Job) -> list[Written]:
    [hashed] = {definition_hash(table, config) for table, _ in job}
    sources = sorted({source for table, _ in job for source in DERIVED[table]})
    inputs = {source: lake.version(source) for source in sources}
    run = Run("interactions", config_hash=digest(config), definition_hash=hashed, inputs=inputs)
    with Cached() as keep:
        outputs = [output for table, days in job for output in _outputs(lake, config, table, days, keep)]
        return replace_partitions(lake, outputs, run)


def _outputs(lake: Lake, config: EtlConfig, table: str, days: DateRange, keep: Cached) -> list[Output]:
    if table in DAILY:
        aggregate, key = DAILY[table]
        frame = aggregate(lake.read(c.EVENTS, days), config.events.actions, config.events.segments)
        return [Output(table, frame, days, key)]
    if table in TILES:
        length = TILE_DAYS[TILES.index(table)]
        daily = lake.read(c.INTERACTIONS_DAILY, days.widen(after=length - 1))
        frame = tiles(packed_days(daily, tile_figures(config)), length, config)
        return [Output(table, frame, days, c.QUERY_KEY, placed=True)]
    frame = keep(_windows(lake, config, days))
    gate(c.INTERACTIONS, profile(c.INTERACTIONS, frame, config), config)
    # Rates leave the rows placed by item; readers look for queries.
    windows = Output(c.INTERACTIONS, frame, days, c.PAIR_KEY, placed="rate" not in config.interactions.families)
    if not can_rank(config):
        return [windows]
    return [Output(c.QUERY_ITEMS, best_items(frame, config), days, ("query_key",)), windows]


def _windows(lake: Lake, config: EtlConfig, days: DateRange) -> DataFrame:
    settings = config.interactions
    parts = covers(days, settings.windows_days)
    reach, before = days.widen(before=settings.longest_days - 1), None
    if "rate" in settings.families:
        before = priors(lake.read(c.INTERACTIONS_DAILY, reach), days, config.events.actions, settings)
    tasks = int(lake.spark.conf.get("spark.sql.shuffle.partitions") or 1)
    heavy = heavy_queries(lake.read(c.QUERIES_DAILY, reach), days, config, tasks)
    return windowed(packed_parts(lake, parts, window_figures(config)), parts, days, before, config, heavy)
