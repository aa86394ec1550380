from unittest.mock import Mock

import pytest

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.errors import ImmatureLabelsError, MissingDataError
from etl.export import export_training_data
from etl.maturity import require_mature
from tests.etl.logs import EXPORT_DAYS

DAYS = DateRange("2024-02-27", "2024-02-29")


@pytest.fixture
def asked(monkeypatch):
    """The ranges whose ingested days were asked for."""
    ranges: list[DateRange] = []
    monkeypatch.setattr("etl.maturity.require_source", lambda lake, table, days: ranges.append(days))
    return ranges


def lake_with(*days):
    return Mock(days_of=Mock(return_value=list(days)), path=str)


@pytest.mark.parametrize(("window", "newest"), [(0, "2024-02-29"), (1, "2024-03-01"), (2, "2024-03-02")])
def test_a_day_is_mature_once_events_reach_the_last_day_of_its_window(asked, window, newest):
    require_mature(lake_with("2024-02-27", newest), DAYS, window)
    assert asked[-1] == DateRange("2024-02-27", newest)


def test_a_day_earlier_it_is_not_and_the_error_says_what_would_be(asked):
    with pytest.raises(ImmatureLabelsError) as caught:
        require_mature(lake_with("2024-02-27", "2024-03-01"), DAYS, 2)
    assert caught.value.args == (DAYS, 2, DateRange("2024-02-27", "2024-03-01"))
    assert "labels of 2024-02-29 are not mature" in str(caught.value)
    assert "up to 2024-02-28" in str(caught.value)


def test_a_log_without_any_event_has_no_mature_day(asked):
    with pytest.raises(MissingDataError, match="events"):
        require_mature(lake_with(), DAYS, 1)


@pytest.mark.spark
def test_an_export_of_immature_days_stops_before_anything_is_written(built, tmp_path):
    from dataclasses import replace

    config = replace(built.config, export=replace(built.config.export, label_window_days=1))
    with pytest.raises(ImmatureLabelsError, match=f"labels of {EXPORT_DAYS.end} are not mature"):
        export_training_data(built.lake(), config, EXPORT_DAYS, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    require_mature(built.lake(), DateRange(EXPORT_DAYS.start, "2024-03-02"), 1)
    with pytest.raises(ImmatureLabelsError):
        require_mature(built.lake(), DateRange(EXPORT_DAYS.start, "2024-03-02"), 2)


@pytest.mark.spark
def test_days_in_between_that_were_never_ingested_are_named(built, monkeypatch):
    from etl.plan import read_history

    whole = read_history(built.lake(), (c.EVENTS,))
    gap = {c.EVENTS: {ds: written for ds, written in whole[c.EVENTS].items() if ds != "2024-03-02"}}
    monkeypatch.setattr("etl.plan.read_history", lambda lake, tables: gap)
    with pytest.raises(MissingDataError, match="2024-03-02"):
        require_mature(built.lake(), DAYS, 3)
