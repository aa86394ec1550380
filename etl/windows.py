"""Tiles to the windowed table and to longer tiles: Spark brings each query's rows together, kernels add them up."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.exchange import Tasks, by_hash, gathered, rows_of, scattered
from etl.kernels.blobs import NO_SLICES, PART, Slices
from etl.kernels.daily import acted
from etl.kernels.fresh import with_fresh, with_fresh_shares
from etl.kernels.rates import Priors, kept_rows, rates_of
from etl.kernels.tables import ENGAGEMENT, Figures, Support, tile_of, windows_of, with_decays
from etl.parts import routed
from etl.skew import Heavy, best_of_heavy


def tile_figures(config: EtlConfig) -> Figures:
    """What windows need of a tile of several days; sketches are most of its bytes."""
    settings = config.interactions
    return Figures(
        config.events.actions,
        tuple(sorted(settings.windows_days)),
        settings.edges_days,
        settings.half_lives_days,
        users=settings.counts_users,
        debiased="coec" in settings.families,
    )


def window_figures(config: EtlConfig) -> Figures:
    """What the configured families and limits need."""
    settings = config.interactions
    ranked = settings.half_lives_days[:1] if settings.top_items_per_query else ()
    return replace(
        tile_figures(config),
        half_lives_days=settings.half_lives_days if "decay" in settings.families else ranked,
        shares="share" in settings.families,
        rates="rate" in settings.families,
        fresh_days=settings.fresh_days if "fresh" in settings.families else None,
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
    named = {"cnt": c.window_count, "share": c.window_share, "rate": c.window_rate, "coec": c.window_debiased,
             "fresh": c.window_fresh_share}[family]  # fmt: skip
    of = acted(actions) if family == "coec" else actions
    return [named(action, days) for action in of for days in settings.windows_days]


def windowed(
    tables: DataFrame, parts: Sequence[DateRange], days: DateRange, priors: Priors | None, config: EtlConfig,
    tasks: Tasks, heavy: Heavy | None = None, keep: Callable[[DataFrame], DataFrame] = lambda frame: frame,
) -> DataFrame:  # fmt: skip
    """The rows of ``interactions`` of ``days`` as tables (see etl.exchange), each of whole queries unless ``heavy``.

    ``tables`` are those of ``parts``, which cover the windows (see etl.parts). ``priors`` are needed for rates and
    coec, None without these families. ``keep`` caches what is read more than once.
    """
    figures, support = window_figures(config), support_of(config)
    totals = None if heavy is None else heavy.totals
    slices = NO_SLICES if heavy is None else heavy.slices

    def add_up(table: pa.Table) -> Iterable[tuple[int, pa.Table]]:
        return enumerate(windows_of(table, parts, days, figures, support, priors, totals))

    found = routed(tables, tasks.buckets, slices)
    shape = partial(_of_part, figures, parts)
    if figures.across_items:
        by_item = gathered(found, add_up, tasks, by_hash(tasks.buckets, "item_id"), shape)
        found = _across_items(by_item, priors, config, tasks, heavy)
    else:
        found = gathered(found, add_up, tasks, shape=shape)
    return found if heavy is None else _without_surplus(keep(found), heavy, config, tasks)


def plain_rows(tables: DataFrame, config: EtlConfig) -> DataFrame:
    """The tables of ``windowed`` as rows of ``interactions``."""
    return rows_of(tables, interaction_columns(config))


def tiles(
    tables: DataFrame, days: Sequence[str], due: Sequence[DateRange], config: EtlConfig, tasks: Tasks,
    slices: Slices = NO_SLICES,
) -> DataFrame:  # fmt: skip
    """The tiles ``due`` as tables, whose part is their place there, from the tables of ``days`` (see etl.parts).

    ``days`` ascending; all tiles come of one pass over them.
    """
    figures, parts = tile_figures(config), [DateRange(ds, ds) for ds in days]
    spans = [(days.index(tile.start), tile) for tile in due]

    def merge(table: pa.Table) -> Iterable[tuple[int, pa.Table]]:
        place = table[PART].to_numpy()
        for number, (first, tile) in enumerate(spans):
            inside = (place >= first) & (place < first + len(tile))
            rows = table.filter(pa.array(inside)).drop_columns([PART])
            rows = rows.append_column(PART, pa.array(place[inside] - first, pa.int32()))
            yield number, tile_of(rows, tile, figures)

    shape = partial(_of_part, figures, parts)
    return gathered(routed(tables, tasks.buckets, slices), merge, tasks, shape=shape)


def _of_part(figures: Figures, parts: Sequence[DateRange], place: int, table: pa.Table) -> pa.Table:
    """The columns of a tile's rows that are needed, and which part they are of."""
    whole = with_decays(table, figures) if len(parts[place]) == 1 else table
    rows = whole.select([*c.PAIR_KEY, *figures.columns])
    return rows.append_column(PART, pa.array([place] * rows.num_rows, pa.int32()))


def _across_items(
    tables: DataFrame, priors: Priors | None, config: EtlConfig, tasks: Tasks, heavy: Heavy | None
) -> DataFrame:
    """Add what needs every query of an item, by item; then bring the queries together again."""
    figures = window_figures(config)
    fresh = figures.fresh_days is not None

    def of_items(table: pa.Table) -> Iterable[tuple[int, pa.Table]]:
        if figures.rates and priors is not None:
            table = rates_of(table, figures.actions, figures.windows_days, priors)
        return [(0, with_fresh(table) if fresh else kept_rows(table))]

    def of_queries(table: pa.Table) -> Iterable[tuple[int, pa.Table]]:
        return _in_order(kept_rows(with_fresh_shares(table, figures.actions, figures.windows_days)) if fresh else table)

    # Whole queries are needed for shares among fresh items only.
    together = c.PAIR_KEY if heavy and not fresh else ("query_key",)
    return gathered(gathered(tables, of_items, tasks, by_hash(tasks.buckets, *together)), of_queries, tasks)


def _in_order(table: pa.Table) -> Iterable[tuple[int, pa.Table]]:
    return [(0, table.sort_by([(name, "ascending") for name in ("ds", *c.PAIR_KEY)]))]


def _without_surplus(tables: DataFrame, heavy: Heavy, config: EtlConfig, tasks: Tasks) -> DataFrame:
    rows = rows_of(tables, interaction_columns(config) | {ENGAGEMENT: "double"})
    best = best_of_heavy(rows, heavy, support_of(config).top_items)
    return gathered(scattered(best, by_hash(tasks.buckets, *c.PAIR_KEY)), _in_order, tasks)
