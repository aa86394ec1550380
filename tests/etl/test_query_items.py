import pytest

from etl.contract.manifest import QUERY_ITEMS_LENGTH
from etl.query_items import best_items
from tests.etl.logs import small_config

pytestmark = pytest.mark.spark

SCHEMA = (
    "ds string, query_key string, item_id string, segment_name string, click_decay_hl2d double, "
    "purchase_decay_hl2d double"
)


def best(spark, rows) -> dict[tuple[str, str], list[str]]:
    frame = best_items(spark.createDataFrame(rows, SCHEMA), small_config())
    return {(row.ds, row.query_key): row["items"] for row in frame.collect()}


def test_the_most_engaged_items_come_first_and_ties_go_by_item_id(spark):
    rows = [
        ("d", "q", "b", "all", 1.0, 0.0),
        ("d", "q", "a", "all", 0.5, 0.5),
        ("d", "q", "c", "all", 1.0, 1.0),
        ("d", "q", "never clicked", "all", 0.0, 0.0),
        ("d", "q", "d", "country", 9.0, 9.0),
        ("e", "q", "b", "all", 1.0, 0.0),
    ]
    assert best(spark, rows) == {("d", "q"): ["c", "a", "b"], ("e", "q"): ["b"]}


def test_no_more_than_twenty_are_kept(spark):
    rows = [("d", "q", f"i{number:02d}", "all", 1.0, 0.0) for number in range(QUERY_ITEMS_LENGTH + 5)]
    assert best(spark, rows) == {("d", "q"): [f"i{number:02d}" for number in range(QUERY_ITEMS_LENGTH)]}
