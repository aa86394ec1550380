import datetime as dt

import pytest

from etl.contract.errors import UnknownNameError
from etl.sources.columns import idle_renames, item_list, raw_names, required_columns, to_raw
from etl.sources.errors import MissingColumnsError


def test_an_exact_name_wins_over_one_that_ignores_case():
    assert raw_names(["Query", "query"], ["query"], {}) == ["raw_Query", "query"]


def test_a_unique_name_in_another_case_is_taken():
    assert raw_names(["QUERY", "extra"], ["query"], {}) == ["query", "extra"]


def test_a_column_that_a_rename_shadows_is_kept_aside():
    assert raw_names(["query", "term"], ["query"], {"query": "term"}) == ["raw_query", "query"]


def test_a_rename_of_an_optional_column_that_is_absent_changes_nothing():
    assert raw_names(["query"], ["query"], {"country": "land"}) == ["query"]


def test_renames_that_change_nothing_in_the_log_are_named():
    found = ["query", "item_id", "posiitton", "country", "title"]
    renames = {
        "query": "term", "posiitton": "rank", "gender": "sex", "country": "geo", "items": "hits", "title": "name",
    }  # fmt: skip
    assert idle_renames(found, renames, ["country", "gender"], ["title"]) == ["posiitton=rank", "gender=sex"]
    assert idle_renames(found, {"land": "country"}, ["country"], []) == ["land=country"]


def test_two_columns_may_swap_their_names():
    assert raw_names(["query", "item_id"], ["query", "item_id"], {"query": "item_id", "item_id": "query"}) == [
        "item_id",
        "query",
    ]


def test_an_unknown_table_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'events'"):
        required_columns("event")


@pytest.mark.spark
def test_whole_floats_lose_their_point_and_numbers_become_text(spark):
    when = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    df = spark.createDataFrame(
        [(1.0, when, 7, "q", 2.5, "click", (1, "x"))],
        "request_id double, ts timestamp, user_id long, query string, item_id double, action string, "
        "box struct<a int, b string>",
    )
    raw = to_raw(df, "events", {}, "here")
    assert dict(raw.dtypes)["ts"] == "timestamp"
    assert raw.drop("ts").first().asDict() == {
        "request_id": "1",
        "user_id": "7",
        "query": "q",
        "item_id": "2.5",
        "action": "click",
        "box": '{"a":1,"b":"x"}',
    }


@pytest.mark.spark
def test_a_numeric_ts_stays_a_number_and_a_date_becomes_a_timestamp(spark):
    rest = "request_id string, user_id string, query string, item_id string, action string"
    number = spark.createDataFrame([], f"ts long, {rest}")
    day = spark.createDataFrame([], f"ts date, {rest}")
    assert dict(to_raw(number, "events", {}, "here").dtypes)["ts"] == "bigint"
    assert dict(to_raw(day, "events", {}, "here").dtypes)["ts"] == "timestamp"


@pytest.mark.spark
def test_a_renamed_column_that_is_absent_is_named_with_both_names(spark):
    df = spark.createDataFrame([], "item string, colour string")
    with pytest.raises(MissingColumnsError, match=r"needs column item_id \(renamed to 'sku'\); found: item, colour"):
        to_raw(df, "items", {"item_id": "sku"}, "here")


@pytest.mark.spark
def test_segments_are_found_in_any_case_and_keep_their_exact_name_where_there_is_one(spark):
    rest = "request_id string, ts string, user_id string, query string, item_id string, action string"
    df = spark.createDataFrame([], f"{rest}, Country string, GENDER string, gender string")
    assert to_raw(df, "events", {}, "here", ("country", "gender")).columns[-3:] == ["country", "raw_GENDER", "gender"]


@pytest.mark.spark
@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["geo"], ["country"]),
        (["Geo"], ["country"]),
        (["country", "geo"], ["country", "geo"]),
        (["Country", "geo"], ["country", "geo"]),
    ],
)
def test_candidate_sets_have_our_segment_or_else_the_log_s_own(spark, columns, found):
    df = spark.createDataFrame([], ", ".join(f"{name} string" for name in ("request_id", "query", "user_id", *columns)))
    assert to_raw(df, "candidates", {"country": "geo"}, "here", ("country",)).columns[3:] == found


@pytest.mark.spark
@pytest.mark.parametrize(
    ("text", "items"),
    [
        ('["007", "b"]', ["007", "b"]),
        ("[1, 2]", ["1", "2"]),
        ("007 | b|", ["007", "b"]),
        ("one", ["one"]),
        ("", []),
        (None, None),
        ('["broken', None),
    ],
)
def test_items_are_read_from_a_json_array_or_a_bar_separated_list(spark, text, items):
    df = spark.createDataFrame([(text,)], "items string")
    assert df.select(item_list(df["items"]).alias("items")).first()["items"] == items
