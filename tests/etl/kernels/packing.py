"""Packed rows from a reference's events, without Spark: what the kernels are given in a worker."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, day_number
from etl.kernels.pairs import DAYS, FIRST_DAY, ITEMS
from etl.kernels.rates import Priors, rates_of
from etl.kernels.tables import Figures, tile_of, windows_of
from etl.tiles import covers
from etl.windows import support_of, tile_figures, window_figures
from tests.etl import reference

SORTED = [*c.QUERY_KEY, FIRST_DAY, DAYS]


def packed_days(events: Iterable[reference.Event], days: Iterable[str], config: EtlConfig) -> pa.Table:
    """Daily partials of ``days`` as packed rows of one item; a user's hash is that of Python."""
    wanted, figures = set(days), tile_figures(config)
    rows = []
    for (ds, query, item, name, value), row in reference.daily_pairs(events, config).items():
        if ds in wanted:
            one: dict[str, Any] = dict(zip(c.QUERY_KEY, (query, name, value), strict=True))
            one |= {FIRST_DAY: day_number(ds), DAYS: 1, ITEMS: [item]}
            one |= {c.count(action): [row[c.count(action)]] for action in config.events.actions}
            one |= {decay: [None] for decay in figures.decays}
            rows.append(one | {c.USERS_SKETCH: [sorted(map(hash, row["users"]))]})
    return in_order(pa.Table.from_pylist(rows, schema_of(figures)))


def packed_parts(events: Sequence[reference.Event], parts: Sequence[DateRange], config: EtlConfig) -> pa.Table:
    """The packed rows of single days and tiles."""
    figures = tile_figures(config)
    tables = [packed_days(events, [part.start for part in parts if len(part) == 1], config)]
    for part in parts:
        if len(part) > 1:
            tile = tile_of(packed_days(events, part.days(), config), part, figures).drop_columns(["ds"])
            tile = tile.append_column(FIRST_DAY, pa.array([day_number(part.start)] * tile.num_rows, pa.int32()))
            tile = tile.append_column(DAYS, pa.array([len(part)] * tile.num_rows, pa.int32()))
            tables.append(tile.select(schema_of(figures).names).cast(schema_of(figures)))
    return in_order(pa.concat_tables(tables))


def in_order(table: pa.Table) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in SORTED]).combine_chunks()


def schema_of(figures: Figures) -> pa.Schema:
    lists = {name: pa.list_(pa.int64()) for name in map(c.count, figures.actions)}
    lists |= {name: pa.list_(pa.float64()) for name in figures.decays}
    keys = dict.fromkeys(c.QUERY_KEY, pa.string()) | dict.fromkeys((FIRST_DAY, DAYS), pa.int32())
    return pa.schema(keys | {ITEMS: pa.list_(pa.string())} | lists | {c.USERS_SKETCH: pa.list_(pa.list_(pa.int64()))})


def windows(
    events: Sequence[reference.Event], days: DateRange, config: EtlConfig, priors: Priors | None = None
) -> list[dict[str, Any]]:
    """The rows of ``interactions`` of ``days``, through tiles and all; with ``priors``, rates too."""
    settings = config.interactions
    parts = covers(days, settings.windows_days)
    packed = packed_parts(events, parts, config)
    tables = list(windows_of(packed, parts, days, window_figures(config), support_of(config), priors))
    if priors is not None:
        whole = pa.concat_tables(tables)
        tables = [rates_of(whole, config.events.actions, sorted(settings.windows_days), priors)]
    return [row for table in tables for row in table.to_pylist()]
