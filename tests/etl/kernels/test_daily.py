"""Partials of a few events by hand; whole logs are held to the reference in tests/etl/test_partials.py."""

import pyarrow as pa

from etl.kernels.blobs import from_value, uncut
from etl.kernels.daily import NO_POSITION, daily_of, moments_of

ACTIONS = ("impression", "click")


def rows(events: list[tuple], segments=("country",), size=10) -> dict[tuple, tuple]:
    names = ("ds", "query_key", "item_id", "action", "user", *(f"segment_{name}" for name in segments))
    kinds = [pa.string()] * 4 + [pa.int64()] + [pa.string()] * len(segments)
    columns = list(zip(*events, strict=True)) if events else [[]] * len(names)
    table = pa.table({name: pa.array(values, kind) for name, values, kind in zip(names, columns, kinds, strict=True)})
    found = daily_of(table, ACTIONS, segments, size=size).to_pylist()
    return {
        (row["ds"], row["query_key"], row["item_id"], row["segment_name"], row["segment_value"]):
        (row["impression_cnt"], row["click_cnt"], row["users_sketch"]) for row in found
    }  # fmt: skip


def test_an_event_counts_under_all_and_under_each_segment_that_it_carries():
    found = rows([("d", "q", "i", "click", 5, "US"), ("d", "q", "i", "impression", 3, None)])
    assert found == {("d", "q", "i", "all", ""): (1, 1, [3, 5]), ("d", "q", "i", "country", "US"): (0, 1, [5])}


def test_days_queries_and_items_are_counted_apart():
    events = [(ds, query, item, "click", 1) for ds in "de" for query in "qr" for item in "ij"]
    assert list(rows(events, ()).values()) == [(0, 1, [1])] * 8


def test_a_sketch_holds_the_smallest_hashes_each_once():
    found = rows([("d", "q", "i", "click", user, None) for user in (9, -4, 7, 9, 2)], size=3)
    assert found == {("d", "q", "i", "all", ""): (0, 5, [-4, 2, 7])}


def test_two_segments_with_a_value_in_common_are_two_rows():
    found = rows([("d", "q", "i", "click", 1, "x", "x")], ("country", "gender"))
    assert [key[3:] for key in found] == [("all", ""), ("country", "x"), ("gender", "x")]


def test_no_events_no_rows():
    assert rows([]) == {}


def test_impressions_expect_what_their_positions_let_expect():
    positions = {("d", 1): [300_000], ("d", 2): [100_000], ("d", NO_POSITION): [50_000]}
    table = pa.table({
        "ds": ["d"] * 5, "query_key": ["q"] * 5, "item_id": ["i", "i", "i", "j", "j"],
        "action": ["impression", "impression", "click", "impression", "impression"],
        "position": pa.array([1, 2, 1, None, 9], pa.int32()), "user": [1] * 5,
    })  # fmt: skip
    found = daily_of(table, ACTIONS, (), positions).to_pylist()
    assert {row["item_id"]: row["click_expected"] for row in found} == {"i": 400_000, "j": 50_000}


def test_moments_count_each_pair_once_and_add_up_over_the_values_of_a_table(monkeypatch):
    monkeypatch.setattr("etl.kernels.blobs._TABLE_ROWS", 2)
    counts = [("all", 4, 1), ("country", 3, 1), ("all", 1, 0), ("gender", 1, 0), ("all", 3, 3)]
    columns = zip(*counts, strict=True)
    table = pa.table(dict(zip(("segment_name", "impression_cnt", "click_cnt"), columns, strict=True)))
    whole = [[8, 12 + 0 + 6], [4, 6]]
    assert moments_of(table, ACTIONS).tolist() == whole
    values = [from_value(batch["table"][0]) for batch in uncut(table, 0)]
    assert len(values) == 3
    assert sum(moments_of(value, ACTIONS) for value in values).tolist() == whole
    assert moments_of(table.slice(0, 0), ACTIONS[::-1]).tolist() == [[0, 0], [0, 0]]
