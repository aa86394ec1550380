"""Rows of partials from a reference's events, without Spark: what the kernels are given in a worker."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.kernels.blobs import PART
from etl.kernels.fresh import with_fresh, with_fresh_shares
from etl.kernels.rates import Priors, kept_rows, rates_of
from etl.kernels.tables import Figures, tile_of, windows_of, with_decays
from etl.tiles import covers
from etl.windows import support_of, tile_figures, window_figures
from tests.etl import reference


def daily_rows(events: Iterable[reference.Event], places: Mapping[str, int], config: EtlConfig) -> pa.Table:
    """Daily partials, in no order, of the days that have a place among some parts; a user's hash is that of Python."""
    figures = tile_figures(config)
    rows = []
    for (ds, query, item, name, value), row in reference.daily_pairs(events, config).items():
        if ds in places:
            one: dict[str, Any] = dict(zip(c.PAIR_KEY, (query, item, name, value), strict=True))
            one |= {PART: places[ds]}
            one |= {name: value for name, value in row.items() if name != "users"}
            rows.append(one | {c.USERS_SKETCH: sorted(map(hash, row["users"]))})
    plain = pa.schema([field for field in schema_of(figures) if field.name not in figures.decays])
    table = with_decays(pa.Table.from_pylist(rows, plain), figures)
    return shuffled(table.select(schema_of(figures).names))


def part_rows(events: Sequence[reference.Event], parts: Sequence[DateRange], config: EtlConfig) -> pa.Table:
    """The rows of single days and tiles."""
    figures = tile_figures(config)
    tables = [daily_rows(events, {part.start: place for place, part in enumerate(parts) if len(part) == 1}, config)]
    for place, part in enumerate(parts):
        if len(part) > 1:
            days = daily_rows(events, {ds: number for number, ds in enumerate(part)}, config)
            tables.append(of_part(tile_of(days, part, figures), place, figures))
    return shuffled(pa.concat_tables(tables))


def of_part(tile: pa.Table, place: int, figures: Figures) -> pa.Table:
    tile = tile.append_column(PART, pa.array([place] * tile.num_rows, pa.int32()))
    return tile.select(schema_of(figures).names).cast(schema_of(figures))


def shuffled(table: pa.Table) -> pa.Table:
    return table.take(np.random.default_rng(table.num_rows).permutation(table.num_rows)).combine_chunks()


def schema_of(figures: Figures) -> pa.Schema:
    whole = [name for name in figures.columns if name not in (*figures.decays, c.USERS_SKETCH)]
    numbers = dict.fromkeys(whole, pa.int64()) | dict.fromkeys(figures.decays, pa.float64())
    keys = dict.fromkeys(c.PAIR_KEY, pa.string()) | {PART: pa.int32()}
    return pa.schema(keys | numbers | {c.USERS_SKETCH: pa.list_(pa.int64())})


def windows(
    events: Sequence[reference.Event], days: DateRange, config: EtlConfig, priors: Priors | None = None
) -> list[dict[str, Any]]:
    """The rows of ``interactions`` of ``days``, through tiles and all; with ``priors``, rates too."""
    settings = config.interactions
    parts = covers(days, settings.edges_days)
    rows = part_rows(events, parts, config)
    tables = list(windows_of(rows, parts, days, window_figures(config), support_of(config), priors))
    if priors is not None:
        whole = pa.concat_tables(tables)
        table = rates_of(whole, config.events.actions, sorted(settings.windows_days), priors)
        if "fresh" in settings.families:
            table = with_fresh_shares(with_fresh(table), config.events.actions, sorted(settings.windows_days))
        tables = [kept_rows(table)]
    return [row for table in tables for row in table.to_pylist()]
