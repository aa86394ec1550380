import pytest

from etl.contract.dates import DateRange, parse_ds, ranges_of, shift_ds
from etl.contract.errors import UsageError


@pytest.mark.parametrize("text", ["2026-1-05", "20260105", "2026-02-29", "2026-01-05T00:00", "{{ ds }}", "", "today"])
def test_what_is_not_a_day_is_refused_with_the_form_that_is(text):
    with pytest.raises(UsageError, match=r"expected yyyy-mm-dd"):
        parse_ds(text)


@pytest.mark.parametrize(
    ("ds", "days", "expected"),
    [
        ("2024-02-28", 1, "2024-02-29"),
        ("2023-02-28", 1, "2023-03-01"),
        ("2024-03-01", -1, "2024-02-29"),
        ("2026-01-01", -1, "2025-12-31"),
        ("2026-01-01", 0, "2026-01-01"),
    ],
)
def test_days_are_counted_by_the_calendar(ds, days, expected):
    assert shift_ds(ds, days) == expected


def test_both_ends_of_a_range_belong_to_it():
    days = DateRange("2024-02-28", "2024-03-01")
    assert list(days) == days.days() == ["2024-02-28", "2024-02-29", "2024-03-01"]
    assert len(days) == 3
    assert "2024-02-28" in days
    assert "2024-03-01" in days
    assert "2024-03-02" not in days
    assert str(days) == "2024-02-28..2024-03-01"
    assert str(DateRange("2024-02-28", "2024-02-28")) == "2024-02-28"


def test_a_range_that_ends_before_it_starts_is_refused():
    with pytest.raises(UsageError, match="ends before it starts"):
        DateRange("2024-03-01", "2024-02-29")


def test_widening_and_shifting_move_the_edges():
    day = DateRange("2024-03-01", "2024-03-01")
    assert day.widen(before=1, after=2) == DateRange("2024-02-29", "2024-03-03")
    assert day.shift(-1) == DateRange("2024-02-29", "2024-02-29")


@pytest.mark.parametrize(("size", "lengths"), [(1, [1] * 7), (3, [2, 2, 3]), (4, [3, 4]), (7, [7]), (50, [7])])
def test_chunks_are_even_consecutive_and_cover_the_range(size, lengths):
    days = DateRange("2024-02-26", "2024-03-03")
    chunks = days.chunks(size)
    assert [len(chunk) for chunk in chunks] == lengths
    assert [ds for chunk in chunks for ds in chunk] == days.days()


def test_days_are_grouped_into_the_fewest_ranges():
    days = ["2024-03-01", "2024-02-28", "2024-02-29", "2024-03-05", "2024-03-01"]
    assert ranges_of(days) == [DateRange("2024-02-28", "2024-03-01"), DateRange("2024-03-05", "2024-03-05")]
    assert ranges_of([]) == []
