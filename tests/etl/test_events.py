"""Raw rows to events and refusals, against the reference row by row; nothing is written."""

import pytest

from etl.contract.dates import DateRange
from etl.events import accepted, first_of_each_id, rejected, typed_rows, without_bots
from tests.etl import reference
from tests.etl.logs import DAYS, Raw, raw_log, raw_row, sample_log, small_config

pytestmark = pytest.mark.spark

DAY = DateRange("2024-02-29", "2024-02-29")


def judged(frame, config, days):
    return without_bots(first_of_each_id(typed_rows(frame, config.events, days), days), config.events)


def reasons(spark, rows: list[Raw], days: DateRange = DAY, **events) -> list[str | None]:
    """The reason of each row in the order of the rows (told apart by position)."""
    import dataclasses

    config = small_config()
    config = dataclasses.replace(config, events=dataclasses.replace(config.events, **events))
    numbered = [row | {"position": str(number)} for number, row in enumerate(rows)]
    found = {row.position: row.reason for row in judged(raw_log(spark, numbered), config, days).collect()}
    expected = {event["position"]: event["reason"] for event in reference.judged(numbered, days, config)}
    assert found == expected
    return [found[number] for number in range(len(rows))]


def test_the_whole_sample_is_judged_as_the_reference_judges_it(spark):
    config, names = small_config(), ("event_id", "request_id", "user_id", "query_key", "item_id", "action", "position")
    rows = judged(raw_log(spark, sample_log()), config, DAYS).collect()
    found = [(row.ds, row.reason, tuple(sorted(row.segments.items())), *(row[name] for name in names)) for row in rows]
    expected = [
        (event["ds"], event["reason"], tuple(sorted(event["segments"].items())), *(event[name] for name in names))
        for event in reference.judged(sample_log(), DAYS, config)
    ]
    assert sorted(found, key=repr) == sorted(expected, key=repr)


def test_every_kind_of_refusal_occurs_in_the_sample():
    found = {event["reason"] for event in reference.judged(sample_log(), DAYS, small_config())}
    assert found == {
        None,
        "missing_key",
        "bad_timestamp",
        "unknown_action",
        "query_too_long",
        "duplicate",
        "bot",
        "outside_range",
    }


def test_a_row_is_refused_for_its_first_fault(spark):
    at = "2024-02-29T10:00:00Z"
    rows = [
        raw_row("soon", user_id="", action="hover", query="x" * 41),
        raw_row("soon", action="hover", query="x" * 41),
        raw_row(at, action="hover", query="x" * 41),
        raw_row(at, query="x" * 41),
        raw_row(at, query="x" * 40),
    ]
    assert reasons(spark, rows) == ["missing_key", "bad_timestamp", "unknown_action", "query_too_long", None]


@pytest.mark.parametrize("name", ["request_id", "user_id", "query", "item_id", "action"])
def test_a_key_that_is_missing_or_blank_refuses_the_row(spark, name):
    rows = [raw_row("2024-02-29T10:00:00Z", **{name: value}) for value in (None, "", "  ")]
    assert reasons(spark, rows) == ["missing_key"] * 3


def test_a_day_begins_and_ends_at_midnight_utc(spark):
    times = [
        "2024-02-28T23:59:59.999999Z",
        "2024-02-29T00:00:00Z",
        "2024-02-29T23:59:59.999999Z",
        "2024-03-01T00:00:00Z",
    ]
    assert reasons(spark, [raw_row(ts, request_id=ts) for ts in times]) == [
        "outside_range",
        None,
        None,
        "outside_range",
    ]


def test_of_equal_ids_the_earliest_stays_whatever_day_it_has(spark):
    same = {"event_id": "x"}
    rows = [
        raw_row("2024-02-29T10:00:00Z", **same),
        raw_row("2024-02-29T09:00:00Z", **same),
        raw_row("2024-02-28T09:00:00Z", event_id="y"),
        raw_row("2024-02-29T09:00:00Z", event_id="y"),
        raw_row("2024-02-29T09:00:00Z", event_id="z"),
        raw_row("2024-03-01T09:00:00Z", event_id="z"),
    ]
    assert reasons(spark, rows) == ["duplicate", None, "outside_range", "duplicate", None, "outside_range"]


def test_a_refused_row_takes_no_id_from_a_good_one(spark):
    rows = [
        raw_row("2024-02-29T09:00:00Z", event_id="x", action="hover"),
        raw_row("2024-02-29T10:00:00Z", event_id="x"),
    ]
    assert reasons(spark, rows) == ["unknown_action", None]


def test_a_busy_user_day_is_refused_whole_and_only_that_day(spark):
    busy = [raw_row(f"2024-02-29T10:00:0{second}Z") for second in range(4)]
    rows = [*busy, busy[0], raw_row("2024-03-01T10:00:00Z"), raw_row("2024-02-29T10:00:00Z", user_id="u2")]
    days = DateRange("2024-02-29", "2024-03-01")
    at_limit = reasons(spark, rows, days, max_events_per_user_day=4)
    assert sorted(map(str, at_limit[:5])) == ["None"] * 4 + ["duplicate"]
    above = reasons(spark, rows, days, max_events_per_user_day=3)
    assert sorted(map(str, above[:5])) == ["bot"] * 4 + ["duplicate"]
    assert above[5:] == [None, None]


def test_without_an_event_id_the_five_keys_make_it(spark):
    first = raw_row("2024-02-29T10:00:00Z")
    others = [first | {"request_id": "r2"}, first | {"user_id": "u2"}, first | {"item_id": "i2"},
              first | {"action": "click"}, first | {"ts": "2024-02-29T10:00:00.000001Z"}]  # fmt: skip
    same = [
        first | {"ts": "1709200800"},
        first | {"event_id": " "},
        first | {"query": "other"},
        first | {"country": "US"},
    ]
    found = reasons(spark, [first, *others, *same])
    assert found[1:6] == [None] * 5
    assert sorted(map(str, [found[0], *found[6:]])) == ["None"] + ["duplicate"] * 4


def test_ids_keep_their_zeros_and_bad_positions_become_unknown(spark):
    rows = [raw_row("2024-02-29T10:00:00Z", user_id="007", item_id="010", position=text)
            for text in ("3", "4.0", "x", "99999999999", None)]  # fmt: skip
    rows = [row | {"request_id": f"r{number}"} for number, row in enumerate(rows)]
    events = accepted(judged(raw_log(spark, rows), small_config(), DAY)).collect()
    assert {(event.user_id, event.item_id) for event in events} == {("007", "010")}
    assert {event.request_id: event.position for event in events} == {
        "r0": 3,
        "r1": 4,
        "r2": None,
        "r3": None,
        "r4": None,
    }


def test_a_log_without_optional_columns_is_enough(spark):
    frame = raw_log(spark, [raw_row("2024-02-29T10:00:00Z")]).drop("event_id", "position", "country", "gender")
    [event] = accepted(judged(frame, small_config(), DAY)).collect()
    assert (event.position, event.segments, len(event.event_id)) == (None, {}, 32)


def test_rejects_keep_the_raw_row_and_rename_what_is_ours(spark):
    frame = spark.createDataFrame(
        [("r", "soon", "u", "q", "i", "click", "mine", [1, 2], 2.5)],
        "request_id string, ts string, user_id string, query string, item_id string, action string, reason string, "
        "`odd name` array<int>, `a.b` double",
    )
    [row] = rejected(judged(frame, small_config(), DAY), "run").collect()
    assert row.asDict() == {
        "request_id": "r",
        "ts": "soon",
        "user_id": "u",
        "query": "q",
        "item_id": "i",
        "action": "click",
        "raw_reason": "mine",
        "odd_name": "[1,2]",
        "a_b": "2.5",
        "reason": "bad_timestamp",
        "ds": DAY.start,
        "run_id": "run",
    }
