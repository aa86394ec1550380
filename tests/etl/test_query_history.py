"""Lists of queries' best items on their way into an export."""

import dataclasses

import pytest

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.lake import Lake
from etl.query_history import as_rows_of_items, best_items_seen, numbered, with_list
from tests.etl.logs import small_config

pytestmark = pytest.mark.spark

ASKED = "ds string, as_of_ds string, query_key string, item_version string"
ROWS = [
    ("2024-03-02", "2024-03-01", "shoes", "2024-02-28"),
    ("2024-03-02", "2024-03-01", "shoes", "2024-02-28"),
    ("2024-03-03", "2024-03-02", "shoes", "2024-03-02"),
    ("2024-03-03", "2024-03-02", "hats", "2024-03-02"),
]
LISTS = [
    ("2024-02-28", "hats", ["d"]),
    ("2024-03-01", "shoes", ["b", "a"]),
    ("2024-03-02", "shoes", ["a", "b", "c"]),
    ("2024-03-02", "boots", ["c"]),
]


class _OneTable(Lake):
    def __init__(self, spark, frame):
        super().__init__(spark, "/nowhere")
        self.frame = frame

    def read(self, table: str, days: DateRange | None = None):
        assert (table, days) == (c.QUERY_ITEMS, DateRange("2024-03-01", "2024-03-02"))
        return self.frame


@pytest.fixture(scope="module")
def rows(spark):
    return spark.createDataFrame(ROWS, ASKED)


def seen(spark, rows, config):
    lake = _OneTable(spark, spark.createDataFrame(LISTS, "ds string, query_key string, items array<string>"))
    return numbered(best_items_seen(lake, config, rows, DateRange("2024-03-01", "2024-03-02")))


def test_each_day_sees_the_list_of_the_day_that_it_may_know(spark, rows):
    lists = seen(spark, rows, small_config())
    found = {(row.ds, row.query_key): (row.query_items, row.item_version, row["items"]) for row in lists.collect()}
    assert found == {
        ("2024-03-02", "shoes"): (0, "2024-02-28", ["b", "a"]),
        ("2024-03-03", "shoes"): (1, "2024-03-02", ["a", "b", "c"]),
    }
    assert [row.query_items for row in with_list(rows, lists).orderBy("ds", "query_key").collect()] == [0, 0, -1, 1]


def test_a_list_names_the_item_versions_of_its_day_best_first(spark, rows):
    versions = [(item, version) for item in ("a", "b", "c") for version in ("2024-02-28", "2024-03-02")]
    items = spark.createDataFrame(
        [(number, *version) for number, version in enumerate(versions)], "item int, item_id string, item_version string"
    )
    located = as_rows_of_items(seen(spark, rows, small_config()), items)
    assert {row.query_items: row["items"] for row in located.collect()} == {0: [2, 0], 1: [1, 3, 5]}


def test_a_configuration_without_decays_has_no_lists(spark, rows):
    config = small_config()
    config = dataclasses.replace(
        config,
        interactions=dataclasses.replace(config.interactions, families=("share",)),
        export=dataclasses.replace(config.export, cross_families=("share",)),
    )
    lists = seen(spark, rows, config)
    assert lists.count() == 0
    assert {row.query_items for row in with_list(rows, lists).collect()} == {-1}
