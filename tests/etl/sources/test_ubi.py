import json

import pytest

from etl.catalogues import catalogue
from etl.config import EtlConfig
from etl.contract.dates import DateRange
from etl.sources import get_source
from etl.sources.columns import CORRUPT
from etl.sources.errors import InputError, MissingColumnsError

pytestmark = pytest.mark.spark

QUERY = {"query_id": "q1", "client_id": "c1", "user_query": "red shoe", "timestamp": "2026-01-01T10:00:00Z"}


def event(action, item=None, query_id="q1", ts="2026-01-01T10:00:05Z", ordinal=None, **extra):
    attributes = {}
    if item is not None:
        attributes["object"] = {"object_id": item, "object_id_field": "sku"}
    if ordinal is not None:
        attributes["position"] = {"ordinal": ordinal}
    return {
        "action_name": action,
        "query_id": query_id,
        "client_id": "c1",
        "timestamp": ts,
        "event_attributes": attributes,
        **extra,
    }


def read(spark, folder, documents, table="events", renames=None, segments=()):
    lines = [document if isinstance(document, str) else json.dumps(document) for document in documents]
    (folder / "ubi.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return get_source("ubi").read(spark, str(folder), table, renames or {}, segments=segments)


def pick(df, *names):
    return sorted((tuple(row[name] for name in names) for row in df.toLocalIterator()), key=str)


def test_an_event_is_joined_to_its_query(spark, tmp_path):
    df = read(spark, tmp_path, [event("click", "007", ordinal=3), QUERY])
    assert pick(df, "request_id", "ts", "user_id", "query", "item_id", "action", "position") == [
        ("q1", "2026-01-01T10:00:05Z", "c1", "red shoe", "007", "click", "3")
    ]


def test_queries_and_events_may_lie_in_separate_files(spark, tmp_path):
    (tmp_path / "queries.json").write_text(json.dumps([QUERY], indent=1), encoding="utf-8")
    assert pick(read(spark, tmp_path, [event("click", "a")]), "query", "item_id") == [("red shoe", "a")]


def test_bulk_load_lines_are_skipped(spark, tmp_path):
    documents = [
        {"index": {"_index": "ubi_queries", "_id": "1"}},
        QUERY,
        {"create": {"_index": "ubi_events"}},
        event("click", "a"),
        {"index": {}},
        event("purchase", "a"),
    ]
    assert pick(read(spark, tmp_path, documents), "action", "item_id") == [("click", "a"), ("purchase", "a")]


def test_both_forms_of_timestamps_pass_as_written(spark, tmp_path):
    documents = [QUERY, event("click", "a", ts=1767261605123), event("click", "b", ts="2026-01-01T10:00:05.123Z")]
    assert pick(read(spark, tmp_path, documents), "item_id", "ts") == [
        ("a", "1767261605123"),
        ("b", "2026-01-01T10:00:05.123Z"),
    ]


def test_action_names_are_mapped_and_unknown_ones_pass(spark, tmp_path):
    names = ["Impression", "view", "click_through", "add_to_cart", "purchase", "watch", "share"]
    df = read(spark, tmp_path, [QUERY, *[event(name, f"i{index}") for index, name in enumerate(names)]])
    assert [action for _, action in pick(df, "item_id", "action")] == [
        *("impression", "impression", "click", "save", "purchase", "long_click", "share"),
    ]


def test_an_event_without_its_query_is_kept_without_text(spark, tmp_path):
    df = read(spark, tmp_path, [QUERY, event("click", "a", query_id="q9"), event("click", "b", query_id=None)])
    assert pick(df, "item_id", "query") == [("a", None), ("b", None)]


def test_an_event_that_is_about_no_item_is_no_row_unless_its_action_needs_one(spark, tmp_path):
    df = read(spark, tmp_path, [QUERY, event("search"), event("page_exit"), event("click")])
    assert pick(df, "action", "item_id") == [("click", None)]


def test_a_query_without_logged_impressions_has_shown_its_hits(spark, tmp_path):
    query = {**QUERY, "query_response_hit_ids": ["a", "b"]}
    df = read(spark, tmp_path, [query, event("click", "b")])
    assert pick(df, "action", "item_id", "position", "ts") == [
        ("click", "b", None, "2026-01-01T10:00:05Z"),
        ("impression", "a", "1", "2026-01-01T10:00:00Z"),
        ("impression", "b", "2", "2026-01-01T10:00:00Z"),
    ]


def test_the_older_name_of_the_hits_is_known(spark, tmp_path):
    df = read(spark, tmp_path, [{**QUERY, "query_response_object_ids": ["a"]}])
    assert pick(df, "action", "item_id") == [("impression", "a")]


def test_logged_impressions_replace_the_hits(spark, tmp_path):
    query = {**QUERY, "query_response_hit_ids": ["a", "b"]}
    df = read(spark, tmp_path, [query, event("impression", "a", ordinal=1)])
    assert pick(df, "action", "item_id") == [("impression", "a")]


def test_a_hover_replaces_the_hit_of_its_item_only(spark, tmp_path):
    query = {**QUERY, "query_response_hit_ids": ["a", "b"]}
    df = read(spark, tmp_path, [query, event("product_hover", "a")])
    assert pick(df, "action", "item_id", "ts") == [
        ("impression", "a", "2026-01-01T10:00:05Z"),
        ("impression", "b", "2026-01-01T10:00:00Z"),
    ]


def test_a_query_logged_twice_does_not_double_its_events(spark, tmp_path):
    later = {**QUERY, "timestamp": "2026-01-01T10:00:01Z", "user_query": "red shoes"}
    df = read(spark, tmp_path, [later, QUERY, event("click", "a")])
    assert pick(df, "item_id", "query") == [("a", "red shoe")]


def test_a_corrupt_line_and_a_foreign_document_are_kept(spark, tmp_path):
    df = read(spark, tmp_path, [QUERY, '{"action_name": "cli', {"colour": "red"}])
    assert pick(df, "request_id", "item_id", "action", "colour", CORRUPT) == [
        (None, None, None, "red", None),
        (None, None, None, None, '{"action_name": "cli'),
    ]


def test_segments_come_from_extra_fields_and_attributes_of_event_or_query(spark, tmp_path):
    query = {**QUERY, "gender": "f", "place": {"city": "Ulm"}, "query_attributes": {"country": "DE", "deep": {"x": 1}}}
    renames = {"country": "query_attributes.country", "size": "event_attributes.object.size"}
    click = event("click", "a")
    click["event_attributes"]["object"]["size"] = 42
    df = read(spark, tmp_path, [query, click], renames=renames)
    assert pick(df, "country", "gender", "size", "place", "session_id") == [("DE", "f", "42", '{"city":"Ulm"}', None)]


def test_another_field_may_be_the_user(spark, tmp_path):
    df = read(spark, tmp_path, [QUERY, event("click", "a", user_id="u7")], renames={"user_id": "user_id"})
    assert pick(df, "user_id") == [("u7",)]


def test_a_rename_to_an_unknown_field_is_refused(spark, tmp_path):
    with pytest.raises(MissingColumnsError, match="country \\(renamed to 'land'\\)"):
        read(spark, tmp_path, [QUERY], renames={"country": "land"})


def test_queries_are_the_distinct_texts(spark, tmp_path):
    df = read(spark, tmp_path, [QUERY, {**QUERY, "query_id": "q2"}, event("click", "a")], "queries")
    assert pick(df, "query", "text") == [("red shoe", "red shoe")]


def test_candidates_are_the_hits_in_order(spark, tmp_path):
    df = read(spark, tmp_path, [{**QUERY, "query_response_hit_ids": ["b", "a"]}, event("click", "a")], "candidates")
    assert pick(df, "request_id", "user_id", "query", "items") == [("q1", "c1", "red shoe", ["b", "a"])]


def test_candidates_are_of_the_day_of_their_query_or_of_the_first_where_it_is_unknown(spark, tmp_path):
    hits = {"query_response_hit_ids": ["a"]}
    stamps = ("2026-01-01T23:59:59Z", "2026-01-01T23:30:00-01:00", 1767312000000, "soon", None, "2026-01-09T10:00:00Z")
    documents = [QUERY | hits | {"query_id": f"q{n}", "timestamp": ts} for n, ts in enumerate(stamps)]
    (tmp_path / "ubi.ndjson").write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    days = DateRange("2026-01-01", "2026-01-02")
    sets = get_source("ubi").read(spark, str(tmp_path), "candidates", {}, date_range=days)
    kept = pick(catalogue(sets, "candidates", EtlConfig(), days, "here"), "request_id", "ds")
    assert [ds[-2:] for _, ds in kept] == ["01", "02", "02", "01", "01"]
    assert [request for request, _ in kept] == ["q0", "q1", "q2", "q3", "q4"]


def test_a_query_that_was_logged_page_by_page_has_the_items_of_all_pages(spark, tmp_path):
    pages = [("2026-01-01T10:00:09Z", ["c", "a"]), ("2026-01-01T10:00:00Z", ["b", "a"])]
    documents = [{**QUERY, "timestamp": ts, "query_response_hit_ids": hits} for ts, hits in pages]
    nameless = {**QUERY, "query_id": None, "query_response_hit_ids": ["d"]}
    df = read(spark, tmp_path, [*documents, nameless], "candidates")
    together = ("q1", ["b", "a", "c"])
    assert pick(df, "request_id", "items") == [together, together, (None, ["d"])]


def test_candidates_carry_the_segments_of_their_query_and_need_no_field_of_events(spark, tmp_path):
    attributes = {"query_attributes": {"land": "US"}, "Gender": "f"}
    document = {**QUERY, **attributes, "query_response_hit_ids": ["b"]}
    renames = {"country": "query_attributes.land", "age": "age_of_event"}
    df = read(spark, tmp_path, [document], "candidates", renames, ("country", "gender", "age"))
    assert pick(df, "request_id", "country", "gender") == [("q1", "US", "f")]


def test_ubi_has_no_catalogue(spark, tmp_path):
    with pytest.raises(InputError, match="no catalogue; ingest it with --source json"):
        read(spark, tmp_path, [QUERY], "items")
