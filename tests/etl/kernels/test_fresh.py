import pyarrow as pa

from etl.kernels.fresh import with_fresh, with_fresh_shares


def pairs(*rows: tuple[str, str, str, int, bool]) -> pa.Table:
    names = ("ds", "query_key", "item_id", "click_cnt_7d", "old")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    return pa.table({**columns, "segment_name": ["all"] * len(rows), "segment_value": [""] * len(rows)})


def test_an_item_that_any_query_saw_before_is_not_fresh():
    table = with_fresh(pairs(("d", "q", "i", 1, False), ("d", "r", "i", 1, True), ("d", "q", "j", 1, False)))
    assert table["fresh"].to_pylist() == [False, False, True]


def test_days_are_judged_apart():
    assert with_fresh(pairs(("d", "q", "i", 1, False), ("e", "q", "i", 1, True)))["fresh"].to_pylist() == [True, False]


def test_a_share_is_among_the_fresh_items_of_its_query():
    table = with_fresh(pairs(("d", "q", "i", 3, False), ("d", "q", "j", 1, False), ("d", "q", "old", 6, True),
                             ("d", "r", "k", 0, False)))  # fmt: skip
    shares = with_fresh_shares(table, ["click"], [7])["click_fresh_share_7d"].to_pylist()
    assert shares == [0.75, 0.25, 0.0, 0.0]
