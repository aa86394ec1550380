"""The ingest job on the sample log, and what it refuses to publish."""

import dataclasses

import pytest

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.errors import EmptyCatalogueError, EmptyInputError, GateError, RowBalanceError
from etl.events import EVENT_COLUMNS, REASONS
from etl.forget import forget_user
from etl.ingest import _balanced, ingest_catalogue, ingest_events
from etl.lake import Lake
from etl.sources.errors import InputError
from tests.etl import reference
from tests.etl.logs import (
    DAYS,
    EMPTY_DAY,
    SNAPSHOTS,
    contents,
    items_frame,
    raw_log,
    raw_row,
    sample_items,
    sample_log,
    small_config,
)

pytestmark = pytest.mark.spark


def as_read(event):
    """A reference's event as the table gives it back."""
    read = event | {"ts": event["ts"].replace(tzinfo=None), "segments": tuple(sorted(event["segments"].items()))}
    return tuple(read[name] for name in sorted(EVENT_COLUMNS))


def test_events_are_those_of_the_reference_column_for_column(built):
    assert contents(built.lake().read(c.EVENTS)) == sorted(map(as_read, built.events), key=repr)
    assert built.lake().read(c.EVENTS).columns == list(EVENT_COLUMNS)


def test_every_refused_row_is_kept_with_its_reason_and_day(built):
    expected = sorted(
        (event["reason"], event["ds"], event["request_id"] or "")
        for event in reference.judged(sample_log(), DAYS, built.config) if event["reason"] in REASONS
    )  # fmt: skip
    refused = built.lake().read(c.EVENTS_REJECTED).collect()
    assert sorted((row.reason, row.ds, row.request_id or "") for row in refused) == expected
    assert len({row.run_id for row in refused}) == 1
    assert {row.ts for row in refused if row.reason == "bad_timestamp"} == {"2024-02-30T10:00:00Z", "soon"}
    assert {row.ds for row in refused if row.reason == "bad_timestamp"} == {DAYS.start}


def test_rows_in_are_events_and_refusals(built):
    report, lake = built.report, built.lake()
    assert (report.outside_range, report.stored) == (2, 0)
    assert report.in_range + report.outside_range == len(sample_log())
    assert report.in_range == report.events + sum(report.rejected.values())
    assert report.events == lake.read(c.EVENTS).count()
    assert sum(report.rejected.values()) == lake.read(c.EVENTS_REJECTED).count()
    [run] = lake.read(c.RUNS).where(f"table = '{c.EVENTS}'").collect()
    assert (run.rows_in, run.rows_out, run.rows_rejected) == (
        report.in_range,
        report.events,
        sum(report.rejected.values()),
    )


def test_a_day_without_rows_inside_the_range_is_ingested_empty(built):
    assert EMPTY_DAY not in built.lake().days_of(c.EVENTS)
    assert EMPTY_DAY in DAYS


def test_ingesting_again_or_day_by_day_gives_the_same_events(built, copied):
    """Each part reads the whole log and answers for its days: what an hourly or daily schedule does."""
    lake, config = copied(c.EVENTS, c.EVENTS_REJECTED, c.RUNS)
    events, refused = (contents(lake.read(table)) for table in (c.EVENTS, c.EVENTS_REJECTED))
    raw = raw_log(lake.spark, sample_log()[::-1])
    halves = DateRange(DAYS.start, "2024-02-28"), DateRange("2024-02-29", DAYS.end)
    reports = [ingest_events(lake, raw, config, days, "sample") for days in halves]
    assert contents(lake.read(c.EVENTS)) == events
    # A row without a timestamp belongs to no day: every run of the file refuses it.
    known = lake.read(c.EVENTS_REJECTED).where(f"reason != 'bad_timestamp' OR ds = '{DAYS.start}'")
    assert contents(known.where("reason != 'missing_key' OR ts IS NOT NULL")) == refused
    assert sum(report.events for report in reports) == len(events)


def test_a_day_that_is_ingested_again_is_replaced_whole(copied):
    lake, config = copied(c.EVENTS, c.EVENTS_REJECTED, c.RUNS)
    day = DateRange("2024-02-28", "2024-02-28")
    others = contents(lake.read(c.EVENTS).where(f"ds != '{day.start}'"))
    raw = raw_log(lake.spark, [raw_row("2024-02-28T10:00:00Z", request_id="only"), raw_row("2024-02-29T10:00:00Z")])
    report = ingest_events(lake, raw, config, day, "one row")
    assert (report.in_range, report.outside_range, report.events, report.rejected) == (1, 1, 1, {})
    assert [row.request_id for row in lake.read(c.EVENTS, day).collect()] == ["only"]
    assert lake.read(c.EVENTS_REJECTED, day).count() == 0
    assert contents(lake.read(c.EVENTS).where(f"ds != '{day.start}'")) == others


@pytest.fixture
def untouched(copied):
    """A lake, and a check that no table in it has a new version."""
    lake, config = copied(c.EVENTS, c.EVENTS_REJECTED, c.RUNS)
    versions = {table: lake.version(table) for table in (c.EVENTS, c.EVENTS_REJECTED, c.RUNS)}
    yield lake, config
    fresh = Lake(lake.spark, lake.root)
    assert {table: fresh.version(table) for table in versions} == versions


def test_too_many_refused_rows_stop_the_run_before_anything_is_published(untouched):
    lake, config = untouched
    rows = [raw_row("2024-02-29T10:00:00Z"), raw_row("2024-02-29T10:00:00Z", action="hover"), raw_row("soon")]
    strict = dataclasses.replace(config, events=dataclasses.replace(config.events, max_reject_share=0.6))
    with pytest.raises(GateError, match=r"max_reject_share \(2024-02-29: 0\.66") as caught:
        ingest_events(lake, raw_log(lake.spark, rows), strict, DateRange("2024-02-29", "2024-02-29"), "bad log")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("end", ["2024-02-28", "2024-02-29"])
def test_rows_without_a_timestamp_do_not_stop_the_first_of_many_days(copied, end):
    """Kept under the first ds of the range, whichever day lost them, and whether that day is asked for."""
    lake, config = copied(c.EVENTS, c.EVENTS_REJECTED, c.RUNS)
    days = DateRange("2024-02-28", end)
    rows = [raw_row(f"{days.start}T10:00:00Z"), raw_row("soon"), raw_row("later", user_id="")]
    rows += [raw_row("2024-02-29T10:00:00Z", request_id=f"r{n}") for n in range(9)]
    report = ingest_events(lake, raw_log(lake.spark, rows), config, days, "some bad timestamps")
    assert report.rejected == {"bad_timestamp": 1, "missing_key": 1}
    assert {row.ds for row in lake.read(c.EVENTS_REJECTED, days).collect()} == {days.start}


def test_a_day_whose_rows_are_all_refused_stops_the_run(untouched):
    lake, config = untouched
    rows = [raw_row("2024-02-29T10:00:00Z", request_id=f"r{n}") for n in range(9)] + [
        raw_row("2024-03-01T10:00:00Z", action="x")
    ]
    with pytest.raises(GateError, match=r"2024-03-01: 1\.0"):
        ingest_events(lake, raw_log(lake.spark, rows), config, DateRange("2024-02-29", "2024-03-01"), "bad day")


def test_refused_rows_of_one_reason_are_spread_over_tasks(copied):
    lake, config = copied(c.EVENTS, c.EVENTS_REJECTED, c.RUNS)
    day = DateRange("2024-02-29", "2024-02-29")
    rows = [raw_row("2024-02-29T10:00:00Z", request_id=f"r{n}", user_id=f"v{n % 2}") for n in [*range(16)] * 2]

    def refused() -> tuple[list[str], int]:
        found = lake.read(c.EVENTS_REJECTED, day).select("request_id", "_metadata.file_path").collect()
        return sorted(row.request_id for row in found), len({row.file_path for row in found})

    ingest_events(lake, raw_log(lake.spark, rows), config, day, "delivered twice")
    requests, files = refused()
    assert (requests, files > 1) == (sorted(f"r{n}" for n in range(16)), True)
    forget_user(lake, config, "v1")
    requests, files = refused()
    assert (requests, files > 1) == (sorted(f"r{n}" for n in range(0, 16, 2)), True)


def test_a_log_of_other_days_is_an_error_that_changes_nothing(untouched):
    lake, config = untouched
    raw = raw_log(lake.spark, [raw_row("2024-05-01T10:00:00Z"), raw_row("2023-05-01T10:00:00Z")])
    with pytest.raises(EmptyInputError, match="2 rows lie outside"):
        ingest_events(lake, raw, config, DateRange("2024-02-29", "2024-02-29"), "other days")


def test_rows_that_get_lost_on_the_way_are_noticed():
    day = DateRange("2024-02-29", "2024-02-29")
    counts = {(day.start, None): 5, (day.start, "duplicate"): 1, ("2024-02-28", "outside_range"): 2}
    assert _balanced(counts, 8, 0, day, "log").plain() == {
        "days": "2024-02-29", "in_range": 6, "outside_range": 2, "stored": 0, "events": 5, "rejected": {"duplicate": 1},
    }  # fmt: skip
    for read in (7, 9):
        with pytest.raises(RowBalanceError, match="5 events \\+ 1 rejected"):
            _balanced(counts, read, 0, day, "log")


def test_a_catalogue_replaces_its_own_snapshot_only(copied):
    lake, config = copied(c.ITEMS, c.RUNS)
    day = DateRange(SNAPSHOTS[1], SNAPSHOTS[1])
    item = items_frame(lake.spark, sample_items("x00")[:1])
    [written] = ingest_catalogue(lake, item, c.ITEMS, config, day, "items").written
    assert (written.rows, str(written.days)) == (1, SNAPSHOTS[1])
    counts = {row.ds: row["count"] for row in lake.read(c.ITEMS).groupBy("ds").count().collect()}
    assert counts == {SNAPSHOTS[0]: 5, SNAPSHOTS[1]: 1}
    with pytest.raises(EmptyCatalogueError, match="it has no rows"):
        ingest_catalogue(lake, items_frame(lake.spark, []), c.ITEMS, small_config(lake.root), day, "items")


def test_rows_of_a_catalogue_that_are_not_kept_are_counted(copied):
    lake, config = copied(c.RUNS)
    days = DateRange("2024-02-28", "2024-02-29")
    rows = [
        ("a", "2024-02-28"), ("a", "2024-02-28"), ("a", "2024-02-29"), (" ", "2024-02-29"), (None, None),
        ("b", "2024-03-01"), (None, "2024-03-01"), ("b", None),
    ]  # fmt: skip
    raw = lake.spark.createDataFrame(rows, "query string, ds string")
    report = ingest_catalogue(lake, raw, c.QUERIES, config, days, "queries.json")
    plain = report.plain()
    assert [(one["days"], one["rows"]) for one in plain.pop("written")] == [(str(days), 2)]
    assert plain == {"in_range": 5, "outside_range": 3, "kept": 2, "without_id": 2, "repeated": 1}
    assert report.counts.left_out() == "2 without an id, 1 beside another of their id, 3 of other days"
    [run] = lake.read(c.RUNS).where(f"table = '{c.QUERIES}'").collect()
    assert (run.rows_in, run.rows_out, run.rows_rejected) == (5, 2, 3)


def test_a_catalogue_without_a_row_to_keep_says_why(copied):
    lake, config = copied(c.RUNS)
    raw = lake.spark.createDataFrame([(None, None), ("q", "2024-05-01")], "query string, ds string")
    with pytest.raises(EmptyCatalogueError) as caught:
        ingest_catalogue(lake, raw, c.QUERIES, config, DateRange("2024-02-29", "2024-02-29"), "queries.json")
    assert "1 rows have no query_key, the column ds of 1 rows names no day" in str(caught.value)
    assert not lake.exists(c.QUERIES)


@pytest.mark.parametrize("items", [["b"], ["a", "b"], None])
def test_a_request_with_two_candidate_sets_is_refused(copied, items):
    lake, config = copied(c.RUNS)
    schema = "request_id string, query string, user_id string, items array<string>"
    raw = lake.spark.createDataFrame([("r", "q", "u", ["a"]), ("r", "q", "u", items)], schema)
    with pytest.raises(InputError, match=r"'r' of 2024-02-29 is one.*one row per request and day"):
        ingest_catalogue(lake, raw, c.CANDIDATES, config, DateRange("2024-02-29", "2024-02-29"), "pairs.csv")
    assert not lake.exists(c.CANDIDATES)


def test_a_candidate_set_that_comes_twice_is_one(copied):
    lake, config = copied(c.RUNS)
    raw = lake.spark.createDataFrame(
        [("r", "q", "u", ["b", "a"]), ("r", "q", "u", ["b", "a"]), ("s", "q", "u", None), ("s", "q", "u", None)],
        "request_id string, query string, user_id string, items array<string>",
    )
    report = ingest_catalogue(lake, raw, c.CANDIDATES, config, DateRange("2024-02-29", "2024-02-29"), "sets")
    assert (report.counts.kept, report.counts.repeated) == (2, 2)
    assert sorted((row.request_id, row["items"]) for row in lake.read(c.CANDIDATES).collect()) == [
        ("r", ["b", "a"]),
        ("s", None),
    ]
