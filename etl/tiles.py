"""Tiles: runs of days merged once, so that a window reads a few of them instead of each of its days.

A tile covers 1, 4, 16 or 64 days and begins on a day whose number since 1970 is a multiple of its length. Which tiles
are read follows from the day and its windows alone, never from what happens to be built: a rebuilt day adds the same
numbers in the same order. A tile is merged from its days only: a wrong day spoils no more than the tiles that hold it.

A tile's rows are those of ``interactions_daily``, and decays; they are stored as tables of bytes (see
etl.kernels.blobs), which workers take as they are: Spark spends more on a row than all kernels together.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from etl.contract.dates import DateRange, day_number, ds_of_number

TILE_DAYS = (1, 4, 16, 64)


def table_of(days: int) -> str:
    """The table of the tiles of one length; a tile stands there under the ds of its first day."""
    return f"interactions_tiles_{days}"


def cover(ds: str, windows_days: Iterable[int]) -> list[DateRange]:
    """Tiles, oldest first, that hold each day of the longest window at ``ds`` once.

    None reaches over the beginning of a window, so that every window is a sum of whole parts.
    """
    last = day_number(ds)
    edges = sorted({last + 1, *(last + 1 - days for days in windows_days)})
    return [part for first, end in pairwise(edges) for part in _aligned(first, end)]


def covers(days: DateRange, windows_days: Sequence[int]) -> list[DateRange]:
    """Every part that the windows of some ds of ``days`` read, oldest first, short before long."""
    return sorted({part for ds in days for part in cover(ds, windows_days)}, key=lambda part: (part.start, len(part)))


def _aligned(first: int, end: int) -> Iterator[DateRange]:
    while first < end:
        length = max(n for n in TILE_DAYS if first % n == 0 and first + n <= end)
        yield DateRange(ds_of_number(first), ds_of_number(first + length - 1))
        first += length
