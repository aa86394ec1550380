import dataclasses

import pytest

from etl.config import EtlConfig, ExportConfig, HeadConfig
from etl.contract.dates import DateRange
from etl.maturity import counted_events
from etl.training_rows import labelled_pairs, requests
from tests.etl import reference, reference_rows
from tests.etl.logs import events_frame, raw_row, small_config

pytestmark = pytest.mark.spark

DAY = DateRange("2024-02-29", "2024-02-29")
WIDE = DAY.widen(before=1, after=3)
HEADS = (HeadConfig("any", ("click", "purchase")), HeadConfig("buy", ("purchase",)))


def events(spark, *rows):
    return events_frame(spark, reference.kept(rows, WIDE, small_config()))


def config_of(heads=HEADS, **export) -> EtlConfig:
    return dataclasses.replace(small_config(), heads=heads, export=ExportConfig(**export))


def rows_of(spark, *rows, days=DAY, config=None):
    """(request_id, item_id) -> what the row knows of its own request, held against the reference."""
    config = config or config_of()
    frame = events(spark, *rows)
    counted = counted_events(frame, requests(frame, days), config.export.label_window_days)
    found = {(row.request_id, row.item_id): row for row in labelled_pairs(counted, config).collect()}
    names = ("ds", "labels", "position", "weight", "acted")
    expected = reference_rows.training_rows(reference.kept(rows, WIDE, config), days, config)
    assert {key: [row[name] for name in names] for key, row in found.items()} == {
        key: [row[name] for name in names] for key, row in expected.items()
    }
    return found


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
    assert {key: row.labels for key, row in found.items() if key[0] == "r1"} == {
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
    assert {item: row.position for (_, item), row in found.items()} == {"twice": 2, "unknown": -1, "unseen": -1}


def test_an_action_counts_until_the_last_midnight_of_its_window_whatever_days_are_read(spark):
    log = [
        raw_row("2024-02-29T10:00:00Z", item_id="i1"),
        raw_row("2024-03-01T23:59:59.999999Z", item_id="i1", action="click"),
        raw_row("2024-03-02T00:00:00Z", item_id="i1", action="purchase"),
        raw_row("2024-03-02T00:00:00Z", item_id="new", action="purchase"),
        raw_row("2024-03-02T10:00:00Z", request_id="r2"),
    ]
    for days in (DAY, WIDE):
        for window, labels in ((0, [1, 0]), (1, [1, 0]), (2, [1, 1])):
            found = rows_of(spark, *log, days=days, config=config_of(label_window_days=window))
            assert found["r1", "i1"].labels == labels
            assert (("r1", "new") in found) == (window == 2)


def test_a_vetoed_action_is_no_label_of_that_head_but_an_action_still(spark):
    at = "2024-02-29T10:00:00Z"
    heads = (HeadConfig("lasting", ("click",), veto=("purchase",)), HeadConfig("click", ("click",)))
    log = [raw_row(at, item_id=item, action=action) for item, action in (
        ("shown", "impression"), ("clicked", "click"), ("vetoed", "click"), ("vetoed", "purchase"), ("bad", "purchase"),
    )]  # fmt: skip
    found = rows_of(spark, *log, config=config_of(heads))
    assert {item: (row.labels, row.acted) for (_, item), row in found.items()} == {
        "shown": ([0, 0], False), "clicked": ([1, 1], True), "vetoed": ([0, 1], True), "bad": ([0, 0], True),
    }  # fmt: skip


def test_a_row_weighs_as_its_first_action_in_the_order_of_the_configuration(spark):
    at = "2024-02-29T10:00:00Z"
    log = [raw_row(at, item_id=item, action=action) for item, action in (
        ("shown", "impression"), ("clicked", "impression"), ("clicked", "click"), ("both", "click"),
        ("both", "purchase"), ("bought", "purchase"),
    )]  # fmt: skip
    for row_weights, expected in (
        ({"click": 1.5, "purchase": 20.0, "impression": 5.0}, [5.0, 1.5, 1.5, 20.0]),
        ({"purchase": 20.0, "impression": 5.0, "click": 1.5}, [5.0, 5.0, 20.0, 20.0]),
        ({"click": 2.0}, [1.0, 2.0, 2.0, 1.0]),
        ({}, [1.0, 1.0, 1.0, 1.0]),
    ):
        found = rows_of(spark, *log, config=config_of(row_weights=row_weights))
        assert [found["r1", item].weight for item in ("shown", "clicked", "both", "bought")] == expected
