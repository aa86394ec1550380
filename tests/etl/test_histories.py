import pytest
from pyspark.sql import functions as F

from etl.contract.dates import DateRange
from etl.histories import actions_of, as_lists, trimmed, with_history_end
from etl.training_rows import requests
from tests.etl import reference
from tests.etl.logs import events_frame, raw_row, small_config

pytestmark = pytest.mark.spark

DAY = DateRange("2024-02-29", "2024-02-29")
T = "2024-02-29T10:00:00"


@pytest.fixture
def events(spark):
    rows = [
        raw_row(f"{T}Z", request_id="now"),
        raw_row(f"{T}.000001Z", request_id="now", action="click", item_id="own"),
        raw_row("2024-02-28T10:00:00Z", request_id="old", action="click", item_id="first"),
        raw_row("2024-02-28T09:00:00Z", request_id="old", item_id="only seen"),
        raw_row("2024-02-29T09:59:59.999999Z", request_id="just before", action="purchase", item_id="second"),
        raw_row(f"{T}Z", request_id="same instant", action="click", item_id="third"),
        raw_row("2024-02-29T11:00:00Z", request_id="after", action="click", item_id="fourth"),
        raw_row("2024-02-29T09:00:00Z", request_id="other's", action="click", user_id="u2"),
    ]
    return events_frame(spark, reference.kept(rows, DAY.widen(before=1), small_config()))


def test_a_request_sees_what_its_user_did_strictly_before_it(events):
    begun = requests(events, DAY)
    ends = with_history_end(begun, actions_of(events, begun)).collect()
    assert {row.request_id: row.history_end for row in ends} == {
        "just before": 1, "now": 2, "same instant": 2, "after": 4, "other's": 0,
    }  # fmt: skip


def test_histories_list_engagements_in_time_order(events):
    users = events.select("user_id").where("user_id = 'u1'").distinct()
    coded = actions_of(events, users).withColumn("item", F.col("item_id")).withColumn("action_index", F.lit(1))
    [row] = as_lists(coded).collect()
    assert row["items"] == ["first", "second", "third", "own", "fourth"]
    assert row["ts"] == sorted(row["ts"])
    assert (row["ts"][0], row["ts"][1]) == (1709114400, 1709200799)


def test_every_request_stays_whether_its_user_did_anything_or_not(events):
    begun = requests(events, DAY)
    ends = with_history_end(begun, actions_of(events, begun).limit(0)).collect()
    assert {row.history_end for row in ends} == {0}
    assert len(ends) == begun.count()


@pytest.mark.parametrize(
    ("length", "expected", "ends"),
    [
        (1, ["second", "third", "own"], {"now": 1, "same instant": 1, "after": 3}),
        (2, ["first", "second", "third", "own"], {"now": 2, "same instant": 2, "after": 4}),
        (9, ["first", "second", "third", "own"], {"now": 2, "same instant": 2, "after": 4}),
    ],
)
def test_only_actions_that_some_request_sees_are_kept(events, length, expected, ends):
    begun = requests(events, DAY).where("user_id = 'u1' AND request_id != 'just before'")
    actions = actions_of(events, begun).withColumn("item", F.col("item_id")).withColumn("action_index", F.lit(1))
    located, kept = trimmed(with_history_end(begun, actions), actions, length)
    [row] = as_lists(kept).collect()
    assert row["items"] == expected
    assert {row.request_id: row.history_end for row in located.collect()} == ends


def test_a_user_without_a_visible_action_keeps_none(events):
    begun = requests(events, DAY).where("user_id = 'u2'")
    located, kept = trimmed(with_history_end(begun, actions_of(events, begun)), actions_of(events, begun), 5)
    assert [row.history_end for row in located.collect()] == [0]
    assert kept.count() == 0
