"""The interactions job: events -> daily partials -> the windowed table of each asked ds."""

from collections.abc import Callable, Mapping
from functools import partial

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.caching import Cached
from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, ranges_of
from etl.contract.settings import digest
from etl.definitions import definition_hash
from etl.lake import Lake
from etl.partials import interactions_daily, queries_daily
from etl.plan import DERIVED, Step, days_to_build, require_source
from etl.quality.gate import gate
from etl.quality.profiles import profile
from etl.ratios import with_shares_and_rates
from etl.runs import Run
from etl.support import supported
from etl.windows import at_each_ds, ds_of, pair_windows, query_windows
from etl.write import Output, Written, replace_partitions

Tick = Callable[[str], None]
"""Told what has just been finished."""

#: The daily partials, each with the columns of its grain beside ds.
DAILY = {
    c.INTERACTIONS_DAILY: (interactions_daily, c.PAIR_KEY),
    c.QUERIES_DAILY: (queries_daily, c.QUERY_KEY),
}


def windowed_interactions(
    interactions_partials: DataFrame, queries_partials: DataFrame, days: DateRange, config: EtlConfig
) -> DataFrame:
    """The ``interactions`` table for ``days`` from daily partials that reach back over the longest window."""
    pairs, queries = window_totals(interactions_partials, queries_partials, days, config)
    return interactions_from_totals(pairs, queries, config)


def window_totals(
    interactions_partials: DataFrame, queries_partials: DataFrame, days: DateRange, config: EtlConfig
) -> tuple[DataFrame, DataFrame]:
    """Windowed counts of pairs and of queries at each of ``days``: what everything else is computed from."""
    actions, settings = config.events.actions, config.interactions
    aged_pairs = at_each_ds(interactions_partials, days, settings.longest_days)
    aged_queries = at_each_ds(queries_partials, days, settings.longest_days)
    return pair_windows(aged_pairs, actions, settings), query_windows(aged_queries, actions, settings)


def interactions_from_totals(pairs: DataFrame, queries: DataFrame, config: EtlConfig) -> DataFrame:
    """The columns of the table, for pairs with support. Reads ``pairs`` several times: hand it over persisted."""
    settings = config.interactions
    full = with_shares_and_rates(
        pairs, queries, config.events.actions, settings.windows_days, settings.rate_prior_impressions
    )
    kept = supported(full, pairs, config.engagement_actions, settings)
    return kept.select(*interaction_columns(config))


def interaction_columns(config: EtlConfig) -> list[Column]:
    """The columns of the table, in their order."""
    actions, windows = config.events.actions, config.interactions.windows_days
    values = [make(action, days) for make in (c.window_count, c.window_share, c.window_rate)
              for action in actions for days in windows]  # fmt: skip
    values += [c.decayed(action, half) for action in actions for half in config.interactions.half_lives_days]
    values += [c.window_users(days) for days in windows]
    return [ds_of().alias("ds"), *map(F.col, (*c.PAIR_KEY, *values))]


def build_interactions(lake: Lake, config: EtlConfig, days: DateRange, tick: Tick = lambda done: None) -> list[Written]:
    """Build ``interactions`` of ``days``, after the daily partials that it needs and that are missing or stale.

    Raises MissingDataError for days that were never ingested, GateError before a bad day is published.
    """
    require_source(lake, c.EVENTS, days)
    reach = days.widen(before=config.interactions.longest_days - 1)
    wanted = {table: days_to_build(lake, config, table, reach) for table in DAILY}
    return _build(lake, config, {**wanted, c.INTERACTIONS: days.days()}, tick)


def run_steps(lake: Lake, config: EtlConfig, steps: list[Step], tick: Tick = lambda done: None) -> list[Written]:
    """Build exactly the tables and days of a plan's steps, sources first."""
    return _build(lake, config, {table: [step.ds for step in steps if step.table == table] for table in DERIVED}, tick)


def _build(lake: Lake, config: EtlConfig, days: Mapping[str, list[str]], tick: Tick) -> list[Written]:
    written = []
    for table in DERIVED:
        write = _write_windows if table == c.INTERACTIONS else partial(_write_daily, table=table)
        for span in ranges_of(days[table]):
            for chunk in span.chunks(config.interactions.days_per_job):
                written.append(write(lake, config, days=chunk))
                tick(f"{table} {chunk}: {written[-1].rows} rows")
    return written


def _write_daily(lake: Lake, config: EtlConfig, table: str, days: DateRange) -> Written:
    aggregate, key = DAILY[table]
    frame = aggregate(lake.read(c.EVENTS, days), config.events.actions, config.events.segments)
    [written] = replace_partitions(lake, [Output(table, frame, days, key)], _run(lake, config, table, (c.EVENTS,)))
    return written


def _write_windows(lake: Lake, config: EtlConfig, days: DateRange) -> Written:
    reach = days.widen(before=config.interactions.longest_days - 1)
    partials = lake.read(c.INTERACTIONS_DAILY, reach), lake.read(c.QUERIES_DAILY, reach)
    with Cached() as keep:
        pairs, queries = window_totals(*partials, days, config)
        frame = keep(interactions_from_totals(keep(pairs), keep(queries), config))
        gate(c.INTERACTIONS, profile(c.INTERACTIONS, frame, config), config)
        run = _run(lake, config, c.INTERACTIONS, (c.INTERACTIONS_DAILY, c.QUERIES_DAILY))
        [written] = replace_partitions(lake, [Output(c.INTERACTIONS, frame, days, c.PAIR_KEY)], run)
    return written


def _run(lake: Lake, config: EtlConfig, table: str, sources: tuple[str, ...]) -> Run:
    return Run(
        job="interactions",
        config_hash=digest(config),
        definition_hash=definition_hash(table, config),
        inputs={source: lake.version(source) for source in sources},
    )
