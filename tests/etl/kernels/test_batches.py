import pyarrow as pa

from etl.kernels.batches import codes_of, group_starts, whole_groups


def batches(values: str, size: int) -> list[pa.RecordBatch]:
    table = pa.table({"key": list(values), "place": range(len(values))})
    return table.to_batches(max_chunksize=size)


def keys(tables) -> list[str]:
    return ["".join(table["key"].to_pylist()) for table in tables]


def test_tables_end_where_a_group_ends():
    assert keys(whole_groups(batches("aabbbcdd", 3), ["key"], entries=2)) == ["aa", "bbb", "c", "dd"]


def test_a_group_longer_than_a_table_stays_whole():
    first, second, *_ = keys(whole_groups(batches("abbbbbbbbbbccccc", 2), ["key"], entries=2))
    assert (first, second.count("b")) == ("a", 10)


def test_nothing_is_lost_or_moved_whatever_the_sizes():
    for size in range(1, 9):
        for entries in range(1, 9):
            tables = list(whole_groups(batches("aabbbcddd", size), ["key"], entries=entries))
            assert [place for table in tables for place in table["place"].to_pylist()] == list(range(9))
            assert all(one[-1] != two[0] for one, two in zip(keys(tables), keys(tables)[1:], strict=False))


def test_elements_of_a_list_can_be_what_is_counted():
    lists = pa.table({"key": ["a", "b", "c"], "items": [["x"] * 2, ["x"] * 3, ["x"]]}).to_batches(max_chunksize=1)
    assert keys(whole_groups(lists, ["key"], size="items", entries=5)) == ["a", "bc"]


def test_no_batches_no_tables():
    assert list(whole_groups([], ["key"])) == []
    assert list(whole_groups(batches("", 1), ["key"])) == []


def test_codes_follow_the_order_of_utf8_bytes():
    codes, values = codes_of(pa.array(["\u00e9", "z", "a", "\U0001f600", "\uffff", "a"]))
    assert values.to_pylist() == ["a", "z", "\u00e9", "\uffff", "\U0001f600"]
    assert codes.tolist() == [2, 1, 0, 4, 3, 0]


def test_a_group_starts_where_any_part_of_the_key_changes():
    table = pa.table({"a": ["x", "x", "y", "y"], "b": [1, 2, 2, 2]})
    assert group_starts(table, ["a", "b"]).tolist() == [0, 1, 2]
