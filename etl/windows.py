"""Packed parts to the windowed table and to tiles: Spark brings each query's rows together, the kernels add them up."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa
from pyspark.sql import DataFrame

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, ds_of_number
from etl.kernels.batches import group_starts, whole_groups
from etl.kernels.pairs import ITEMS
from etl.kernels.rates import KEPT, QUERY_RATE, Priors, rates_of
from etl.kernels.tables import ENGAGEMENT, Figures, Support, tile_of, windows_of
from etl.packed import grouped, in_tile
from etl.skew import SALT, Heavy, best_of_heavy, spread

Batches = Iterable[pa.RecordBatch]

# Rows of one batch on its way back to Spark.
_ROWS = 20_000

#: What one call of a kernel holds whole.
_QUERY = ("query_key", SALT)


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
    kinds = dict.fromkeys(("ds", *c.QUERY_KEY), "string") | {ITEMS: "array<string>"}
    kinds |= dict.fromkeys(map(c.count, figures.actions), "array<bigint>") | dict.fromkeys(
        figures.decays, "array<double>"
    )
    return kinds | ({c.USERS_SKETCH: "array<array<bigint>>"} if figures.users else {})


def windowed(
    packed: DataFrame, parts: Sequence[DateRange], days: DateRange, priors: Priors | None, config: EtlConfig,
    heavy: Heavy | None = None,
) -> DataFrame:  # fmt: skip
    """The rows of ``interactions`` of ``days`` from the packed rows of ``parts``, which cover their windows.

    ``priors`` are needed for rates, None without that family.
    """
    columns = interaction_columns(config) | ({} if heavy is None else {ENGAGEMENT: "double"})
    figures, support = window_figures(config), support_of(config)
    schema = columns if priors is None else _for_rates(columns, config)
    totals = None if heavy is None else heavy.totals

    def add_up(batches: Batches) -> Iterator[pa.RecordBatch]:
        for table in whole_groups(batches, [*_QUERY], size=ITEMS):
            for rows in windows_of(table, parts, days, figures, support, priors, totals):
                yield from _batches(rows, schema)

    rows = grouped(spread(packed, heavy), *_QUERY).mapInArrow(add_up, _ddl(schema))
    rated = rows if priors is None else _rated(rows, priors, columns, config)
    return best_of_heavy(rated, heavy, support.top_items)


def _rated(rows: DataFrame, priors: Priors, columns: dict[str, str], config: EtlConfig) -> DataFrame:
    """Add the rates; a pair's tokens need every query of its item."""
    figures = window_figures(config)

    def smooth(batches: Batches) -> Iterator[pa.RecordBatch]:
        for table in whole_groups(batches, ["ds", "item_id"]):
            yield from _batches(rates_of(table, figures.actions, figures.windows_days, priors), columns)

    together = rows.repartition("ds", "item_id").sortWithinPartitions("ds", "item_id")
    return together.mapInArrow(smooth, _ddl(columns))


def tiles(packed: DataFrame, length: int, config: EtlConfig) -> DataFrame:
    """The rows of the tiles of ``length`` days from the packed rows of all their days."""
    figures = tile_figures(config)

    def merge(batches: Batches) -> Iterator[pa.RecordBatch]:
        for table in whole_groups(batches, ["tile", "query_key"], size=ITEMS):
            for rows in _by_tile(table):
                first = rows["tile"][0].as_py()
                days = DateRange(ds_of_number(first), ds_of_number(first + length - 1))
                yield from _batches(tile_of(rows, days, figures), columns)

    columns = tile_columns(figures)
    return grouped(in_tile(packed, length), "tile", "query_key").mapInArrow(merge, _ddl(columns))


def _for_rates(columns: dict[str, str], config: EtlConfig) -> dict[str, str]:
    """What the rates are made from: every count, and two columns of their own; the rates come later."""
    settings = config.interactions
    counts = [c.window_count(action, days) for action in config.events.actions for days in settings.windows_days]
    rates = {c.window_rate(action, days) for action in config.events.actions for days in settings.windows_days}
    plain = {name: kind for name, kind in columns.items() if name not in rates}
    return plain | dict.fromkeys(counts, "bigint") | {KEPT: "boolean", QUERY_RATE: "array<double>"}


def _by_tile(table: pa.Table) -> Iterator[pa.Table]:
    edges = [*group_starts(table, ["tile"]), table.num_rows]
    return (table.slice(first, end - first) for first, end in pairwise(edges))


def _batches(table: pa.Table, columns: dict[str, str]) -> list[pa.RecordBatch]:
    return table.select(list(columns)).to_batches(max_chunksize=_ROWS)


def _ddl(columns: dict[str, str]) -> str:
    return ", ".join(f"`{name}` {kind}" for name, kind in columns.items())
