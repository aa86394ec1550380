"""Which days of a source stand behind days of what was made from it, under the present configuration."""

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.plan import TILES
from etl.tiles import TILE_DAYS, table_of

#: Read as the newest snapshot that a day may see.
SNAPSHOTS = (c.ITEMS, c.QUERIES, c.ITEM_VECTORS)

_PARTIALS = (c.INTERACTIONS_DAILY, c.QUERIES_DAILY, table_of(1))
_FIRST = "0001-01-01"


def days_behind(made: str, source: str, days: DateRange, config: EtlConfig) -> DateRange:
    """Days of the table ``source`` behind ``days`` of ``made``: a table, or an export, a model or files for serving.

    Of snapshots it is the newest one in these days that counts; of a pair that is not known, everything so far.
    """
    settings = config.interactions
    if made in (source, c.ITEM_VECTORS, *_PARTIALS):
        return days
    if made in TILES:
        return days.widen(after=TILE_DAYS[1 + TILES.index(made)] - 1)
    if made in (c.INTERACTIONS, c.QUERY_ITEMS):
        return days.widen(before=settings.longest_days - 1)
    if source == c.CANDIDATES:
        return days
    if source == c.EVENTS:
        return DateRange(shift_ds(days.start, -config.export.history_days), days.end)
    seen = days.shift(-1 - settings.lag_days)
    if source in (c.INTERACTIONS, c.QUERY_ITEMS):
        return seen
    if source in _PARTIALS:
        return seen.widen(before=settings.longest_days - 1)
    return DateRange(_FIRST, seen.end if source in SNAPSHOTS else days.end)
