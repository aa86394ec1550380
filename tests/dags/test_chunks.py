import pytest

from dags.chunks import chunks


def test_a_range_is_cut_into_runs_of_days_and_the_last_may_be_shorter() -> None:
    assert chunks("2026-02-27", "2026-03-03", 2) == [
        ["2026-02-27", "2026-02-28"],
        ["2026-03-01", "2026-03-02"],
        ["2026-03-03"],
    ]


def test_a_day_is_one_chunk() -> None:
    assert chunks("2026-01-01", "2026-01-01", 14) == [["2026-01-01"]]


@pytest.mark.parametrize(("start", "end"), [("2026-01-02", "2026-01-01"), ("2026-01-01", "2026-13-01")])
def test_what_is_no_range_is_an_error(start: str, end: str) -> None:
    with pytest.raises(ValueError, match=r"before|month"):
        chunks(start, end, 1)
