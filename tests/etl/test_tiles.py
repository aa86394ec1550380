import pytest

from etl.contract.dates import DateRange, day_number
from etl.tiles import TILE_DAYS, cover, covers

DS = "2024-03-01"


@pytest.mark.parametrize("windows", [(1,), (7, 30, 90), (365,), (4, 64), (90, 7)])
@pytest.mark.parametrize("ds", ["2024-02-29", DS, "2024-12-31", "1970-01-01", "1969-06-30"])
def test_a_cover_holds_each_day_of_the_longest_window_once(ds, windows):
    days = [day for part in cover(ds, windows) for day in part]
    assert days == DateRange(ds, ds).widen(before=max(windows) - 1).days()


@pytest.mark.parametrize("windows", [(7, 30, 90), (3, 5, 64, 365)])
def test_no_part_reaches_over_the_beginning_of_a_window(windows):
    for width in windows:
        first = DateRange(DS, DS).widen(before=width - 1).start
        assert any(part.start == first for part in cover(DS, windows))


def test_a_tile_begins_on_a_multiple_of_its_length():
    for part in cover(DS, (400,)):
        assert len(part) in TILE_DAYS
        assert day_number(part.start) % len(part) == 0


def test_parts_grow_with_the_logarithm_of_the_window():
    assert max(len(cover(DS, (width,))) for width in (90, 365)) <= 25
    assert len(cover(DS, (1460,))) < 45


def test_the_parts_of_a_range_are_those_of_its_days_each_once():
    days = DateRange("2024-02-27", DS)
    parts = covers(days, (7, 30))
    assert set(parts) == {part for ds in days for part in cover(ds, (7, 30))}
    assert len(parts) == len(set(parts))
    assert [part.start for part in parts] == sorted(part.start for part in parts)
