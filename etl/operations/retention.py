"""Which days of which tables are older than they are kept. Pure: no Spark, no tables."""

from collections.abc import Mapping, Sequence

from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.operations.reach import SNAPSHOTS
from etl.plan import TILES
from etl.tiles import TILE_DAYS, table_of


def first_kept(retention_days: Mapping[str, int], today: str) -> dict[str, str]:
    """table -> the first ds that it keeps, ``today`` being the last of its days.

    Tables that are made with others go with them; a tile goes when the last of its days does.
    """
    first = {table: shift_ds(today, 1 - days) for table, days in retention_days.items()}
    if c.INTERACTIONS_DAILY in first:
        daily = first[c.INTERACTIONS_DAILY]
        first[table_of(1)] = daily
        first |= {table: shift_ds(daily, 1 - days) for table, days in zip(TILES, TILE_DAYS[1:], strict=True)}
    if c.INTERACTIONS in first:
        first[c.QUERY_ITEMS] = first[c.INTERACTIONS]
    return first


def days_to_drop(table: str, held: Sequence[str], first: str) -> DateRange | None:
    """From the oldest of the days ``held`` to the newest that goes; None where all stay."""
    if table in SNAPSHOTS:
        # As-of reads need the newest from before the days that are kept.
        before = [ds for ds in held if ds <= first]
        first = max(before, default=first)
    old = [ds for ds in held if ds < first]
    return DateRange(min(old), max(old)) if old else None
