"""Late files: rows that join days which are there already."""

import dataclasses
import shutil
from typing import Any

import pytest

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.errors import OutdatedEventsError
from etl.events import typed_rows
from etl.ingest import IngestReport, ingest_events
from etl.lake import Lake
from tests.etl import reference
from tests.etl.logs import Raw, contents, raw_log, raw_row, small_config

pytestmark = pytest.mark.spark

DAYS = DateRange("2024-02-28", "2024-02-29")
FIRST = [
    raw_row("2024-02-28T10:00:00Z", request_id="a", country="US", position="3"),
    raw_row("2024-02-28T10:00:01Z", request_id="a", action="click", country="US"),
    raw_row("2024-02-29T10:00:00Z", event_id="x", request_id="b"),
    raw_row("2024-02-29T11:00:00Z", event_id="x", request_id="c"),
    raw_row("2024-02-28T10:00:00Z", request_id="d", action="hover"),
    raw_row("2024-02-28T11:00:00Z", event_id="y", request_id="first of y"),
    *(raw_row(f"2024-02-29T12:00:0{n}Z", request_id=f"busy{n}", user_id="u9") for n in range(3)),
]
LATE = [
    raw_row("2024-02-28T09:00:00Z", event_id="x", request_id="earlier"),
    raw_row("2024-02-29T13:00:00Z", event_id="x", request_id="later"),
    raw_row("2024-02-28T23:59:59Z", request_id="new", country="DE"),
    raw_row("2024-02-28T10:00:00Z", request_id="a", country="US", position="3"),
    raw_row("2024-02-28T10:00:00Z", request_id="e", query=""),
    raw_row("2024-03-05T10:00:00Z", request_id="outside"),
]


@pytest.fixture(autouse=True)
def without_gate(monkeypatch):
    """Gates have tests of their own, and take a second each."""
    monkeypatch.setattr("etl.ingest.gate", lambda *arguments: [])


@pytest.fixture(scope="module")
def base(spark, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etl.ingest.gate", lambda *arguments: [])
        root = str(tmp_path_factory.mktemp("late") / "lake")
        ingest_events(Lake(spark, root), raw_log(spark, FIRST), config(root), DAYS, "first")
    return root


def config(root: str):
    small = small_config(root)
    return dataclasses.replace(small, events=dataclasses.replace(small.events, max_events_per_user_day=6))


@pytest.fixture
def lake(spark, base, tmp_path):
    shutil.copytree(base, tmp_path / "lake")
    return Lake(spark, str(tmp_path / "lake"))


@pytest.fixture(scope="module")
def joined(spark, base, tmp_path_factory):
    """The lake and the report after the late file has come once; nothing may be written to it again."""
    root = tmp_path_factory.mktemp("joined") / "lake"
    shutil.copytree(base, root)
    lake = Lake(spark, str(root))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("etl.ingest.gate", lambda *arguments: [])
        return lake, append(lake, LATE)


def append(lake: Lake, rows: list[Raw], days: DateRange = DAYS, **events: Any) -> IngestReport:
    settings = config(lake.root)
    settings = dataclasses.replace(settings, events=dataclasses.replace(settings.events, **events))
    return ingest_events(lake, raw_log(lake.spark, rows), settings, days, "late", append=True)


def tables(lake: Lake):
    return contents(lake.read(c.EVENTS)), contents(lake.read(c.EVENTS_REJECTED))


def kept(lake: Lake) -> set[str]:
    return {row.request_id for row in lake.read(c.EVENTS).collect()}


def test_late_rows_join_as_if_they_had_come_with_the_first(joined):
    lake, report = joined
    together = reference.judged([*FIRST, *(row for row in LATE if row["request_id"] != "a")], DAYS, config(lake.root))
    expected = {event["event_id"] + event["ds"] for event in together if event["reason"] is None}
    assert {row.event_id + row.ds for row in lake.read(c.EVENTS).collect()} == expected
    refused = sorted(
        (event["reason"], event["request_id"])
        for event in together
        if event["reason"] in ("duplicate", "missing_key", "unknown_action")
    )
    assert sorted((row.reason, row.request_id) for row in lake.read(c.EVENTS_REJECTED).collect()) == refused
    assert (report.stored, report.in_range, report.outside_range) == (7, 4, 1)
    assert report.in_range + report.stored == report.events + sum(report.rejected.values())


def test_the_earliest_of_an_id_wins_whichever_file_and_day_it_came_with(joined):
    lake, _ = joined
    assert {"earlier", "new", "a"} <= kept(lake)
    assert not {"b", "c", "later"} & kept(lake)
    [demoted] = lake.read(c.EVENTS_REJECTED).where("request_id = 'b'").collect()
    assert (demoted.reason, demoted.ds, demoted.item_id, demoted.event_id) == ("duplicate", "2024-02-29", "i1", "x")


def test_a_late_file_that_is_delivered_twice_changes_nothing(joined, tmp_path):
    shutil.copytree(joined[0].root, tmp_path / "lake")
    lake = Lake(joined[0].spark, str(tmp_path / "lake"))
    append(lake, LATE)
    assert tables(lake) == tables(joined[0])


def test_the_first_file_delivered_again_changes_nothing(lake):
    before = tables(lake)
    report = append(lake, FIRST)
    assert tables(lake) == before
    assert report.events == 7


def test_a_rival_on_a_stored_day_outside_the_range_still_wins(lake):
    day = DateRange("2024-02-29", "2024-02-29")
    append(lake, [raw_row("2024-02-29T09:00:00Z", event_id="y", request_id="second of y")], day)
    assert "first of y" in kept(lake)
    assert "second of y" not in kept(lake)


@pytest.mark.slow
def test_a_late_file_can_make_a_user_day_a_bots_and_that_is_final(lake):
    more = [raw_row(f"2024-02-29T13:00:0{n}Z", request_id=f"more{n}", user_id="u9") for n in range(4)]
    report = append(lake, more)
    assert report.rejected == {"bot": 7}
    events, refused = tables(lake)
    append(lake, [*more, raw_row("2024-02-29T14:00:00Z", request_id="straggler", user_id="u9")])
    assert tables(lake)[0] == events
    assert {*tables(lake)[1]} > {*refused}
    assert len(tables(lake)[1]) == len(refused) + 1


def test_rows_do_not_join_days_of_another_definition_but_days_that_were_never_ingested(lake):
    before = tables(lake)
    after = DateRange("2024-02-29", "2024-03-01")
    new = raw_row("2024-03-01T10:00:00Z", request_id="new", action="hover")
    hover = ("impression", "click", "purchase", "hover")
    with pytest.raises(OutdatedEventsError, match=r"events of 2024-02-29 were .*--input \.\.\. --ds 2024-02-29;"):
        append(lake, [new], after, actions=hover)
    assert tables(lake) == before
    append(lake, [new], DateRange(after.end, after.end), actions=hover)
    assert "new" in kept(lake)


def test_a_late_file_is_read_once(lake):
    read = lake.spark.sparkContext.accumulator(0)

    def counted(row):
        read.add(1)
        return row

    frame = raw_log(lake.spark, LATE)
    raw = lake.spark.createDataFrame(frame.rdd.map(counted), frame.schema)
    typed_rows(raw, config(lake.root).events, DAYS).collect()
    once = read.value
    ingest_events(lake, raw, config(lake.root), DAYS, "late", append=True)
    assert read.value == 2 * once


def test_appending_to_an_empty_lake_is_an_ordinary_ingest(spark, tmp_path):
    lake = Lake(spark, str(tmp_path / "fresh"))
    report = append(lake, FIRST)
    assert (report.stored, report.events, report.rejected) == (0, 7, {"unknown_action": 1, "duplicate": 1})
