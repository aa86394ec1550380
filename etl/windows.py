"""Tiles to the windowed table and to longer tiles: Spark brings each query's rows together, kernels add them up."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.exchange import Labelled, Place, gathered, hash_bucket, mapped, rows_of, scattered
from etl.kernels.blobs import bucket_of, hashed
from etl.kernels.codes import Ints
from etl.kernels.pairs import PART
from etl.kernels.rates import Priors, rates_of
from etl.kernels.tables import ENGAGEMENT, Figures, Support, tile_of, windows_of, with_decays
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

    def by(self, *names: str) -> Place:
        """A bucket for each value of some columns."""
        return lambda table: bucket_of(hashed(table, names), self.buckets)


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


def windowed(
    tables: DataFrame, parts: Sequence[DateRange], days: DateRange, priors: Priors | None, config: EtlConfig,
    tasks: Tasks, heavy: Heavy | None = None,
) -> DataFrame:  # fmt: skip
    """The rows of ``interactions`` of ``days`` as tables (see etl.exchange), each of whole queries unless ``heavy``.

    ``tables`` are those of ``parts``, which cover the windows (see etl.parts). ``priors`` are needed for rates, None
    without that family.
    """
    figures, support = window_figures(config), support_of(config)
    totals = None if heavy is None else heavy.totals
    queries = () if heavy is None else heavy.queries

    def add_up(bucket: int, table: pa.Table) -> Labelled:
        return ((bucket, rows) for rows in windows_of(table, parts, days, figures, support, priors, totals))

    def by_query(table: pa.Table) -> Ints:
        return query_bucket(table, queries, tasks.buckets)

    found = mapped(tables, partial(_of_part, figures, parts), by_query)
    if priors is None:
        found = gathered(found, add_up, tasks.tasks)
    else:
        found = _rated(gathered(found, add_up, tasks.tasks, tasks.by("item_id")), priors, config, tasks)
    return found if heavy is None else _without_surplus(found, heavy, config, tasks)


def plain_rows(tables: DataFrame, config: EtlConfig) -> DataFrame:
    """The tables of ``windowed`` as rows of ``interactions``."""
    return rows_of(tables, interaction_columns(config))


def tiles(
    tables: DataFrame, days: Sequence[str], due: Sequence[DateRange], config: EtlConfig, tasks: Tasks
) -> DataFrame:
    """The tiles ``due`` as tables, whose bucket is their place there, from the tables of ``days`` (see etl.parts).

    ``days`` ascending; all tiles come of one pass over them.
    """
    figures, first = tile_figures(config), {tile: days.index(tile.start) for tile in due}

    def merge(bucket: int, table: pa.Table) -> Labelled:
        place = table[PART].to_numpy()
        for label, tile in enumerate(due):
            inside = (place >= first[tile]) & (place < first[tile] + len(tile))
            rows = table.filter(pa.array(inside)).drop_columns([PART])
            rows = rows.append_column(PART, pa.array(place[inside] - first[tile], pa.int32()))
            yield label, tile_of(rows, tile, figures)

    parts = [DateRange(ds, ds) for ds in days]
    # By pair, not by query: no query is too large for a task.
    found = mapped(tables, partial(_of_part, figures, parts), tasks.by("query_key", "item_id"))
    return gathered(found, merge, tasks.tasks)


def _of_part(figures: Figures, parts: Sequence[DateRange], place: int, table: pa.Table) -> Labelled:
    """The columns of a tile's rows that are needed, and which part they are of."""
    whole = with_decays(table, figures) if len(parts[place]) == 1 else table
    rows = whole.select([*c.PAIR_KEY, *figures.columns])
    yield place, rows.append_column(PART, pa.array([place] * rows.num_rows, pa.int32()))


def _rated(tables: DataFrame, priors: Priors, config: EtlConfig, tasks: Tasks) -> DataFrame:
    """Add the rates, whose words need every query of an item; then bring the queries together again."""
    figures = window_figures(config)

    def smooth(bucket: int, table: pa.Table) -> Labelled:
        return [(bucket, rates_of(table, figures.actions, figures.windows_days, priors))]

    def in_order(bucket: int, table: pa.Table) -> Labelled:
        return [(bucket, table.sort_by([(name, "ascending") for name in ("ds", *c.PAIR_KEY)]))]

    return gathered(gathered(tables, smooth, tasks.tasks, tasks.by("query_key")), in_order, tasks.tasks)


def _without_surplus(tables: DataFrame, heavy: Heavy, config: EtlConfig, tasks: Tasks) -> DataFrame:
    rows = rows_of(tables, interaction_columns(config) | {ENGAGEMENT: "double"})
    best = best_of_heavy(rows, heavy, support_of(config).top_items)
    return scattered(best, hash_bucket(c.PAIR_KEY, tasks.buckets))
