"""Ranges of days, cut into what one task builds."""

from datetime import date, timedelta


def chunks(start_ds: str, end_ds: str, size: int) -> list[list[str]]:
    """The days from ``start_ds`` to ``end_ds``, both included, as runs of at most ``size``, earliest first.

    Raises ValueError for what is no day and for a range that ends before it starts.
    """
    start, end = date.fromisoformat(start_ds), date.fromisoformat(end_ds)
    if end < start:
        raise ValueError(f"end_ds {end_ds} lies before start_ds {start_ds}: give the earlier day first")
    days = [str(start + timedelta(days=number)) for number in range((end - start).days + 1)]
    return [days[first : first + size] for first in range(0, len(days), size)]
