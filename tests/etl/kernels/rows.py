"""Rows of partials from a reference's events, without Spark: what the kernels are given in a worker."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, day_number
from etl.kernels.pairs import DAYS, FIRST_DAY
from etl.kernels.rates import Priors, rates_of
from etl.kernels.tables import Figures, tile_of, windows_of
from etl.tiles import covers
from etl.windows import support_of, tile_figures, window_figures
from tests.etl import reference


def daily_rows(events: Iterable[reference.Event], days: Iterable[str], config: EtlConfig) -> pa.Table:
    """Daily partials of ``days``, in no order; a user's hash is that of Python."""
    wanted, figures = set(days), tile_figures(config)
    rows = []
    for (ds, query, item, name, value), row in reference.daily_pairs(events, config).items():
        if ds in wanted:
            one: dict[str, Any] = dict(zip(c.PAIR_KEY, (query, item, name, value), strict=True))
            one |= {FIRST_DAY: day_number(ds), DAYS: 1}
            one |= {c.count(action): row[c.count(action)] for action in config.events.actions}
            one |= {c.decayed(action, half): float(row[c.count(action)])
                    for action in figures.actions for half in figures.half_lives_days}  # fmt: skip
            rows.append(one | {c.USERS_SKETCH: sorted(map(hash, row["users"]))})
    return shuffled(pa.Table.from_pylist(rows, schema_of(figures)))


def part_rows(events: Sequence[reference.Event], parts: Sequence[DateRange], config: EtlConfig) -> pa.Table:
    """The rows of single days and tiles."""
    figures = tile_figures(config)
    tables = [daily_rows(events, [part.start for part in parts if len(part) == 1], config)]
    for part in parts:
        if len(part) > 1:
            tile = tile_of(daily_rows(events, part.days(), config), part, figures).drop_columns(["ds"])
            tables.append(of_part(tile, part, figures))
    return shuffled(pa.concat_tables(tables))


def of_part(tile: pa.Table, part: DateRange, figures: Figures) -> pa.Table:
    tile = tile.append_column(FIRST_DAY, pa.array([day_number(part.start)] * tile.num_rows, pa.int32()))
    tile = tile.append_column(DAYS, pa.array([len(part)] * tile.num_rows, pa.int32()))
    return tile.select(schema_of(figures).names).cast(schema_of(figures))


def shuffled(table: pa.Table) -> pa.Table:
    return table.take(np.random.default_rng(table.num_rows).permutation(table.num_rows)).combine_chunks()


def schema_of(figures: Figures) -> pa.Schema:
    numbers = dict.fromkeys(map(c.count, figures.actions), pa.int64()) | dict.fromkeys(figures.decays, pa.float64())
    keys = dict.fromkeys(c.PAIR_KEY, pa.string()) | dict.fromkeys((FIRST_DAY, DAYS), pa.int32())
    return pa.schema(keys | numbers | {c.USERS_SKETCH: pa.list_(pa.int64())})


def windows(
    events: Sequence[reference.Event], days: DateRange, config: EtlConfig, priors: Priors | None = None
) -> list[dict[str, Any]]:
    """The rows of ``interactions`` of ``days``, through tiles and all; with ``priors``, rates too."""
    settings = config.interactions
    parts = covers(days, settings.windows_days)
    rows = part_rows(events, parts, config)
    tables = list(windows_of(rows, parts, days, window_figures(config), support_of(config), priors))
    if priors is not None:
        whole = pa.concat_tables(tables)
        tables = [rates_of(whole, config.events.actions, sorted(settings.windows_days), priors)]
    return [row for table in tables for row in table.to_pylist()]
