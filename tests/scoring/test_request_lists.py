"""What requests carry of their users and queries, by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from models.hashing import bucket
from scoring.request_lists import best_items, recent_actions
from scoring.xxhash import xxhash64
from tests.etl.logs import EVENT_SCHEMA, events_frame
from tests.scoring.test_worker import SPEC as WORKER_SPEC

pytestmark = pytest.mark.spark

DS = "2024-03-03"
SPEC = replace(WORKER_SPEC, actions=("impression", "click", "purchase"))
BEGIN = datetime.fromisoformat(DS).replace(tzinfo=UTC)
COLUMNS = [column.split()[0] for column in EVENT_SCHEMA.split(", ")]


def event(before: float, event_id: str, item: str, action: str = "click") -> dict[str, Any]:
    """One action so many seconds before the day."""
    known = {"event_id": event_id, "ts": BEGIN - timedelta(seconds=before), "user_id": "u1", "item_id": item}
    return dict.fromkeys(COLUMNS, "") | {"position": 1, "segments": {}, "action": action} | known


def histories(spark: SparkSession, events: list[dict[str, Any]], length: int = 9) -> list[tuple[int, str, int]]:
    users, spec = spark.createDataFrame([("u1",)], "user_id string"), replace(SPEC, history_length=length)
    [row] = recent_actions(events_frame(spark, events), users, spec, DS).collect()
    return [(one.item, SPEC.actions[one.action], one.age) for one in row.history]


def hashed(item: str) -> int:
    return int(xxhash64(pa.array([item]))[0])


@pytest.mark.parametrize("length", [2, 9])
def test_actions_within_a_second_are_in_the_order_of_training_latest_first(spark: SparkSession, length: int):
    events = [
        event(7.75, "a", "i3"), event(7.25, "a", "i1"), event(7.25, "b", "i2", "purchase"), event(7.5, "z", "i3"),
        event(0, "z", "i3"), event(7.1, "z", "i3", "impression"), event(9, "0", "i1"),
    ]  # fmt: skip
    shown = sorted(events, key=lambda one: (one["ts"], one["event_id"]), reverse=True)
    expected = [
        (hashed(one["item_id"]), one["action"], -int((one["ts"] - BEGIN).total_seconds() // 1))
        for one in shown
        if one["ts"] < BEGIN and one["action"] != "impression"
    ]
    assert [item for item, _, _ in expected[:2]] == [hashed("i2"), hashed("i1")]
    assert histories(spark, events, length) == expected[:length]


def test_an_action_that_the_model_does_not_know_is_not_in_a_history(spark: SparkSession):
    events = [event(9, "a", "i1"), event(8, "b", "i2", "wish"), event(7, "c", "i3", "purchase")]
    assert histories(spark, events, 2) == [(hashed("i3"), "purchase", 7), (hashed("i1"), "click", 9)]


def test_items_come_with_the_bucket_that_training_gives_their_ids(spark: SparkSession):
    ids = ["i1", "007", "Café ½", "日本", "x" * 300, ""]
    lists = spark.createDataFrame([("q", ids)], "query_key string, items array<string>")
    [row] = best_items(lists, SPEC).collect()
    assert [(one.item, one.id) for one in row.best] == [(hashed(one), bucket(one, SPEC.id_buckets)) for one in ids]
