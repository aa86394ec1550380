"""The interactions job: events -> daily partials -> tiles -> the windowed table of each asked ds."""

from collections.abc import Callable
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
from etl.runs import Run
from etl.tiles import TILE_DAYS, covers
from etl.windows import figures_of, tiles, windowed
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
    for table in DERIVED:
        days = [step.ds for step in steps if step.table == table and step.state != FRESH]
        for chunk in _chunks(table, days, config):
            written.append(_write(lake, config, table, chunk))
            tick(f"{table} {chunk}: {written[-1].rows} rows")
    return written


def _chunks(table: str, days: list[str], config: EtlConfig) -> list[DateRange]:
    """What one Spark job and one commit build: a few days, or tiles in a row (under the first days of each)."""
    if table not in TILES:
        return [chunk for span in ranges_of(days) for chunk in span.chunks(config.interactions.days_per_job)]
    length = TILE_DAYS[TILES.index(table)]
    numbers = ranges_of([ds_of_number(day_number(ds) // length) for ds in days])
    return [DateRange(*(ds_of_number(day_number(edge) * length) for edge in (row.start, row.end))) for row in numbers]


def _write(lake: Lake, config: EtlConfig, table: str, days: DateRange) -> Written:
    if table in DAILY:
        aggregate, key = DAILY[table]
        frame = aggregate(lake.read(c.EVENTS, days), config.events.actions, config.events.segments)
        return _publish(lake, config, Output(table, frame, days, key))
    if table in TILES:
        length = TILE_DAYS[TILES.index(table)]
        daily = lake.read(c.INTERACTIONS_DAILY, days.widen(after=length - 1))
        frame = tiles(packed_days(daily, figures_of(config)), length, config)
        return _publish(lake, config, Output(table, frame, days, c.QUERY_KEY, placed=True))
    with Cached() as keep:
        frame = keep(_windows(lake, config, days))
        gate(c.INTERACTIONS, profile(c.INTERACTIONS, frame, config), config)
        return _publish(lake, config, Output(c.INTERACTIONS, frame, days, c.PAIR_KEY, placed=True))


def _windows(lake: Lake, config: EtlConfig, days: DateRange) -> DataFrame:
    settings = config.interactions
    parts = covers(days, settings.windows_days)
    before = None
    if "rate" in settings.families:
        reach = days.widen(before=settings.longest_days - 1)
        before = priors(lake.read(c.INTERACTIONS_DAILY, reach), days, config.events.actions, settings)
    return windowed(packed_parts(lake, parts, figures_of(config)), parts, days, before, config)


def _publish(lake: Lake, config: EtlConfig, output: Output) -> Written:
    run = Run(
        job="interactions",
        config_hash=digest(config),
        definition_hash=definition_hash(output.table, config),
        inputs={source: lake.version(source) for source in DERIVED[output.table]},
    )
    [written] = replace_partitions(lake, [output], run)
    return written
