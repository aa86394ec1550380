import pytest

from etl.config import HeadConfig
from etl.contract.dates import DateRange
from etl.training_rows import requests, training_rows
from tests.etl import reference
from tests.etl.logs import events_frame, raw_row, small_config

pytestmark = pytest.mark.spark

DAY = DateRange("2024-02-29", "2024-02-29")
WIDE = DAY.widen(before=1, after=1)
HEADS = (HeadConfig("any", ("click", "purchase")), HeadConfig("buy", ("purchase",)))


def events(spark, *rows):
    return events_frame(spark, reference.kept(rows, WIDE, small_config()))


def rows_of(spark, *rows):
    frame = events(spark, *rows)
    found = training_rows(frame, requests(frame, DAY), HEADS).collect()
    return {(row.request_id, row.item_id): (row.labels, row.position) for row in found}


def test_a_request_begins_at_its_earliest_event_and_stands_on_that_day(spark):
    frame = events(
        spark,
        raw_row("2024-02-29T23:59:59Z", request_id="late"),
        raw_row("2024-03-01T00:00:01Z", request_id="late", action="click", query="changed", user_id="u2"),
        raw_row("2024-02-28T23:59:59Z", request_id="yesterday"),
        raw_row("2024-02-29T00:00:01Z", request_id="yesterday", action="click"),
        raw_row("2024-03-01T00:00:00Z", request_id="tomorrow"),
    )
    [row] = requests(frame, DAY).collect()
    assert (row.request_id, row.ds, row.query_key, row.user_id) == ("late", "2024-02-29", "red shoes", "u1")


def test_of_events_at_one_instant_the_smallest_id_speaks_for_the_request(spark):
    at = "2024-02-29T10:00:00Z"
    frame = events(spark, raw_row(at, event_id="b", country="US"), raw_row(at, event_id="a", country="DE"))
    [row] = requests(frame, DAY).collect()
    assert row.segments == {"country": "DE"}


def test_a_label_says_whether_any_action_of_its_head_followed(spark):
    at = "2024-02-29T23:59:00Z"
    found = rows_of(
        spark,
        *(raw_row(at, item_id=item, position=str(place)) for place, item in enumerate(["seen", "clicked", "bought"])),
        raw_row("2024-02-29T23:59:01Z", item_id="clicked", action="click"),
        raw_row("2024-02-29T23:59:02Z", item_id="clicked", action="click"),
        raw_row("2024-03-01T00:10:00Z", item_id="bought", action="purchase"),
        raw_row("2024-02-29T23:59:03Z", request_id="other", item_id="seen", action="purchase"),
    )
    assert {key: labels for key, (labels, _) in found.items() if key[0] == "r1"} == {
        ("r1", "seen"): [0, 0],
        ("r1", "clicked"): [1, 0],
        ("r1", "bought"): [1, 1],
    }


def test_a_position_is_the_best_one_shown_and_minus_1_when_unknown(spark):
    found = rows_of(
        spark,
        raw_row("2024-02-29T10:00:00Z", item_id="twice", position="4"),
        raw_row("2024-02-29T10:00:01Z", item_id="twice", position="2"),
        raw_row("2024-02-29T10:00:02Z", item_id="twice", position="0", action="click"),
        raw_row("2024-02-29T10:00:03Z", item_id="unknown"),
        raw_row("2024-02-29T10:00:03Z", item_id="unseen", action="click", position="1"),
    )
    assert {item: position for (_, item), (_, position) in found.items()} == {"twice": 2, "unknown": -1, "unseen": -1}
