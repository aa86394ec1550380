import math

import pytest
from pyspark.sql import functions as F

from etl.catalogues import catalogue, snapshot_days
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.sources.errors import InputError
from tests.etl.logs import contents, items_frame, sample_items, small_config

DAYS = DateRange("2024-02-28", "2024-02-29")


@pytest.mark.parametrize(
    ("until", "seen"),
    [("2024-02-26", None), ("2024-02-27", "2024-02-27"), ("2024-02-28", "2024-02-27"), ("2025-01-01", "2024-02-29")],
)
def test_a_day_sees_the_newest_snapshot_that_is_not_later(until, seen):
    assert snapshot_days(["2024-02-29", "2024-02-27"], until) == seen


@pytest.mark.spark
def test_items_join_their_texts_and_leave_out_what_is_unknown(spark):
    rows = catalogue(items_frame(spark, sample_items("2024-02-28")), c.ITEMS, small_config(), DAYS, "here").collect()
    assert {row.ds for row in rows} == {"2024-02-28"}
    found = {row.item_id: (row.text, row.categories, row.numerics) for row in rows}
    assert found["i0"] == ("i0 of 2024-02-28 acme", {"brand": "acme"}, {"price": 1.5})
    assert found["i2"] == ("i2 of 2024-02-28", {}, {})
    assert found["i3"] == ("i3 of 2024-02-28 ", {}, {"price": 3.0})
    assert {row.item_id: row.dense["vector"] for row in rows}["i4"] == [4.0, 0.5]


@pytest.mark.spark
def test_of_repeated_items_the_same_one_stays_in_any_order(spark):
    rows = [sample_items("2024-02-28")[0] | {"title": title} for title in ("b", "a", "c")]
    rows.append(rows[0] | {"item_id": " "})
    config = small_config()
    found = [
        contents(catalogue(items_frame(spark, order), c.ITEMS, config, DAYS, "here")) for order in (rows, rows[::-1])
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 1


@pytest.mark.spark
def test_repeats_that_differ_in_a_map_a_list_or_the_sign_of_zero_alone_have_one_winner(spark):
    item = sample_items("2024-02-28")[0]
    changes = ({"price": "-0"}, {"price": "0"}, {"price": None}, {"vector": [-0.0, 1.0]}, {"vector": [0.0, 1.0]}, {})
    asked = [("r", "q", "u", items, "US", None) for items in (["b"], ["a", "b"], None, ["a"])]
    schema = "request_id string, query string, user_id string, items array<string>, country string, gender string"
    found = []
    for step in (1, -1):
        items = items_frame(spark, [item | change for change in changes][::step])
        sets = spark.createDataFrame(asked[::step], schema)
        frames = [(items, c.ITEMS), (sets, c.CANDIDATES)]
        found.append([catalogue(raw, table, small_config(), DAYS, "here").collect() for raw, table in frames])
    assert str(found[0]) == str(found[1])
    assert [len(rows) for rows in found[0]] == [1, 1]
    assert "-0.0" not in str(found)


@pytest.mark.spark
def test_a_ds_column_says_which_day_a_row_is_of(spark):
    frame = spark.createDataFrame(
        [("q", "2024-02-27"), ("q", "2024-02-28"), ("Q ", "2024-02-29"), ("p", "2024-03-01")], "query string, ds string"
    )
    rows = catalogue(frame, c.QUERIES, small_config(), DAYS, "here").collect()
    assert {(row.ds, row.query_key, row.text) for row in rows} == {("2024-02-28", "q", "q"), ("2024-02-29", "q", "Q ")}


@pytest.mark.spark
def test_candidates_keep_their_list_and_carry_segments(spark):
    frame = spark.createDataFrame(
        [("r", "Red  Shoes", "007", ["i2", "i1"], "US", None)],
        "request_id string, query string, user_id string, items array<string>, country string, gender string",
    )
    [row] = catalogue(frame, c.CANDIDATES, small_config(), DAYS, "here").collect()
    assert (row.query_key, row.user_id, row["items"], row.segments) == (
        "red shoes",
        "007",
        ["i2", "i1"],
        {"country": "US"},
    )


@pytest.mark.spark
def test_candidates_without_a_column_of_items_have_an_empty_list(spark):
    frame = spark.createDataFrame([("r", "q", "u")], "request_id string, query string, user_id string")
    [row] = catalogue(frame, c.CANDIDATES, small_config(), DAYS, "here").collect()
    assert (row["items"], row.segments) == ([], {})


@pytest.mark.spark
def test_a_configured_column_that_is_missing_is_named(spark):
    with pytest.raises(InputError, match="price"):
        catalogue(items_frame(spark, []).drop("price"), c.ITEMS, small_config(), DAYS, "here")


@pytest.mark.spark
def test_text_that_is_no_number_is_an_unknown_number(spark):
    rows = [
        row | {"price": price}
        for row, price in zip(sample_items("2024-02-28"), ("1e3", "NaN", "1,5", " 2 ", "-0"), strict=True)
    ]
    found = {
        row.item_id: row.numerics.get("price")
        for row in catalogue(items_frame(spark, rows), c.ITEMS, small_config(), DAYS, "here").collect()
    }
    assert (found["i0"], found["i2"], found["i3"]) == (1000.0, None, 2.0)
    assert found["i1"] is None or math.isnan(found["i1"])


@pytest.mark.spark
def test_a_vector_with_an_entry_that_is_no_number_is_unknown(spark):
    plain = [row for row in sample_items("2024-02-28") if row["item_id"] in ("i0", "i1")]
    frame = items_frame(spark, plain).drop("vector")
    broken, whole = (F.array(*map(F.lit, texts)) for texts in (("0.5", "n/a"), ("1", "2")))
    frame = frame.withColumn("vector", F.when(F.col("item_id") == "i0", broken).otherwise(whole))
    found = catalogue(frame, c.ITEMS, small_config(), DAYS, "here")
    assert {row.item_id: row.dense for row in found.collect()} == {"i0": {}, "i1": {"vector": [1.0, 2.0]}}
