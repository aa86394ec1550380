"""Days and day ranges. A ds is a UTC day written ``yyyy-mm-dd``; it covers [ds 00:00, ds+1 00:00) UTC."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from etl.contract.errors import UsageError

_EPOCH = date(1970, 1, 1).toordinal()


def parse_ds(text: str) -> date:
    """``yyyy-mm-dd`` to a date; UsageError for anything else (an unrendered template, for one)."""
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != text:
        raise UsageError(f"'{text}' is not a day: expected yyyy-mm-dd (UTC), for example 2026-01-31")
    return parsed


def shift_ds(ds: str, days: int) -> str:
    """The ds that lies ``days`` after (before, if negative) ``ds``; UsageError where the calendar ends before."""
    try:
        return (parse_ds(ds) + timedelta(days=days)).isoformat()
    except OverflowError:
        raise UsageError(f"no day lies {days:+d} days from {ds}: days reach from {date.min} to {date.max}") from None


def day_number(ds: str) -> int:
    """Days since 1970-01-01."""
    return parse_ds(ds).toordinal() - _EPOCH


def ds_of_number(number: int) -> str:
    return date.fromordinal(number + _EPOCH).isoformat()


@dataclass(frozen=True)
class DateRange:
    """The days from ``start`` to ``end``, both inclusive."""

    start: str
    end: str

    def __post_init__(self) -> None:
        if parse_ds(self.start) > parse_ds(self.end):
            raise UsageError(f"the range ends before it starts: --start-ds {self.start} --end-ds {self.end}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.days())

    def __len__(self) -> int:
        return (parse_ds(self.end) - parse_ds(self.start)).days + 1

    def __contains__(self, ds: str) -> bool:
        return self.start <= ds <= self.end

    def __str__(self) -> str:
        return self.start if self.start == self.end else f"{self.start}..{self.end}"

    def days(self) -> list[str]:
        return [shift_ds(self.start, offset) for offset in range(len(self))]

    def widen(self, before: int = 0, after: int = 0) -> "DateRange":
        """The range with ``before`` more days at its start and ``after`` more at its end."""
        return DateRange(shift_ds(self.start, -before), shift_ds(self.end, after))

    def shift(self, days: int) -> "DateRange":
        return DateRange(shift_ds(self.start, days), shift_ds(self.end, days))

    def chunks(self, size: int) -> list["DateRange"]:
        """Consecutive ranges of at most ``size`` days, as even as they can be."""
        count = -(-len(self) // size)
        edges = [len(self) * k // count for k in range(count + 1)]
        return [DateRange(shift_ds(self.start, low), shift_ds(self.start, high - 1)) for low, high in pairwise(edges)]


def ranges_of(days: list[str]) -> list[DateRange]:
    """Group days into the fewest ranges of consecutive days, in order."""
    ranges: list[DateRange] = []
    for ds in sorted(set(days)):
        if ranges and shift_ds(ranges[-1].end, 1) == ds:
            ranges[-1] = DateRange(ranges[-1].start, ds)
        else:
            ranges.append(DateRange(ds, ds))
    return ranges
