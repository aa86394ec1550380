"""Partials to the windowed table and to tiles: Spark brings each query's rows together, the kernels add them up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
from pyspark.sql import DataFrame

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, ds_of_number
from etl.exchange import gathered, gathered_rows, hash_bucket, rows_of, scattered, unchanged
from etl.kernels.codes import codes_of
from etl.kernels.pairs import FIRST_DAY
from etl.kernels.rates import Priors, rates_of
from etl.kernels.tables import ENGAGEMENT, Figures, Support, tile_of, windows_of
from etl.partials import daily_columns
from etl.skew import Heavy, best_of_heavy, query_bucket

# Events whose pairs a bucket holds at most, evenly spread: some 100 MB of a worker's memory.
_EVENTS_PER_BUCKET = 1_000_000


@dataclass(frozen=True)
class Tasks:
    """Over how many tasks, and buckets one after the other in them, a table is spread."""

    tasks: int
    buckets: int

    @classmethod
    def of(cls, tasks: int, events: int) -> "Tasks":
        return cls(tasks, tasks * max(1, -(-events // (tasks * _EVENTS_PER_BUCKET))))


def tile_figures(config: EtlConfig) -> Figures:
    """Everything that windows could need of a tile, whichever families are written today."""
    settings = config.interactions
    windows = tuple(sorted(settings.windows_days))
    return Figures(config.events.actions, windows, settings.half_lives_days, shares=False, users=True)


def window_figures(config: EtlConfig) -> Figures:
    """What the configured families and limits need."""
    settings = config.interactions
    ranked = settings.half_lives_days[:1] if settings.top_items_per_query else ()
    return replace(
        tile_figures(config),
        half_lives_days=settings.half_lives_days if "decay" in settings.families else ranked,
        shares="share" in settings.families,
        users="users" in settings.families or settings.min_users > 1,
    )


def support_of(config: EtlConfig) -> Support:
    settings = config.interactions
    return Support(
        engagement=tuple(c.decayed(action, settings.half_lives_days[0]) for action in sorted(config.engagement_actions))
        if settings.top_items_per_query
        else (),
        min_users=settings.min_users,
        top_items=settings.top_items_per_query,
    )


def interaction_columns(config: EtlConfig) -> dict[str, str]:
    """The columns of ``interactions`` in their order, with their Spark types."""
    columns = dict.fromkeys(("ds", *c.PAIR_KEY), "string")
    for family in config.interactions.families:
        kind = "bigint" if family in ("cnt", "users") else "double"
        columns |= dict.fromkeys(family_columns(family, config), kind)
    return columns


def family_columns(family: str, config: EtlConfig) -> list[str]:
    """The columns of a family, none of one that is not configured."""
    settings, actions = config.interactions, config.events.actions
    if family not in settings.families:
        return []
    if family == "users":
        return [c.window_users(days) for days in settings.windows_days]
    if family == "decay":
        return [c.decayed(action, half_life) for action in actions for half_life in settings.half_lives_days]
    name = {"cnt": c.window_count, "share": c.window_share, "rate": c.window_rate}[family]
    return [name(action, days) for action in actions for days in settings.windows_days]


def tile_columns(figures: Figures) -> dict[str, str]:
    sketch = {c.USERS_SKETCH: "array<bigint>"}
    return daily_columns(figures.actions) | dict.fromkeys(figures.decays, "double") | sketch


def windowed(
    rows: DataFrame, parts: Sequence[DateRange], days: DateRange, priors: Priors | None, config: EtlConfig,
    tasks: Tasks, heavy: Heavy | None = None,
) -> DataFrame:  # fmt: skip
    """The rows of ``interactions`` of ``days`` as tables (see etl.exchange), each of whole queries unless ``heavy``.

    ``rows`` are those of ``parts``, which cover the windows. ``priors`` are needed for rates, None without that family.
    """
    figures, support = window_figures(config), support_of(config)
    totals = None if heavy is None else heavy.totals

    def add_up(table: pa.Table) -> Iterable[pa.Table]:
        return windows_of(table, parts, days, figures, support, priors, totals)

    found = scattered(rows, query_bucket(heavy, tasks.buckets))
    if priors is None:
        found = gathered(found, add_up, tasks.tasks)
    else:
        found = _rated(gathered(found, add_up, tasks.tasks, "item_id", tasks.buckets), priors, config, tasks)
    return found if heavy is None else _without_surplus(found, heavy, config, tasks)


def plain_rows(tables: DataFrame, config: EtlConfig) -> DataFrame:
    """The tables of ``windowed`` as rows of ``interactions``."""
    return rows_of(tables, unchanged, interaction_columns(config))


def tiles(daily: DataFrame, length: int, config: EtlConfig, tasks: Tasks) -> DataFrame:
    """The rows of the tiles of ``length`` days from the rows of all their days (see etl.parts)."""
    figures = tile_figures(config)

    def merge(table: pa.Table) -> Iterable[pa.Table]:
        tile, firsts = codes_of(pa.array(table[FIRST_DAY].to_numpy() // length * length))
        for place, first in enumerate(firsts.to_pylist()):
            days = DateRange(ds_of_number(first), ds_of_number(first + length - 1))
            yield tile_of(table.filter(pa.array(tile == place)), days, figures)

    # By pair, not by query: no query is too large for a task.
    spread = scattered(daily, hash_bucket(("query_key", "item_id"), tasks.buckets))
    return gathered_rows(spread, merge, tasks.tasks, tile_columns(figures))


def _rated(tables: DataFrame, priors: Priors, config: EtlConfig, tasks: Tasks) -> DataFrame:
    """Add the rates, whose words need every query of an item; then bring the queries together again."""
    figures = window_figures(config)

    def smooth(table: pa.Table) -> Iterable[pa.Table]:
        return (rates_of(table, figures.actions, figures.windows_days, priors),)

    def in_order(table: pa.Table) -> Iterable[pa.Table]:
        return (table.sort_by([(name, "ascending") for name in ("ds", *c.PAIR_KEY)]),)

    rated = gathered(tables, smooth, tasks.tasks, "query_key", tasks.buckets)
    return gathered(rated, in_order, tasks.tasks)


def _without_surplus(tables: DataFrame, heavy: Heavy, config: EtlConfig, tasks: Tasks) -> DataFrame:
    rows = rows_of(tables, unchanged, interaction_columns(config) | {ENGAGEMENT: "double"})
    best = best_of_heavy(rows, heavy, support_of(config).top_items)
    return scattered(best, hash_bucket(c.PAIR_KEY, tasks.buckets))
