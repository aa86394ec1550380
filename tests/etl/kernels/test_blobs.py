import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.kernels.blobs import collected, cut, hashed, joined, plain, tables_of, uncut


def table(rows: int) -> pa.Table:
    return pa.table(
        {"name": [f"n{row}" for row in range(rows)], "place": range(rows), "many": [[row] for row in range(rows)]}
    )


def found(batches) -> list[tuple[int, list[int]]]:
    return [(bucket, one["place"].to_pylist()) for bucket, _, one in tables_of(batches)]


def test_rows_of_a_bucket_come_as_one_table_in_their_order():
    batches = list(cut(table(5), np.array([7, 0, 7, 0, 7])))
    assert found(batches) == [(0, [1, 3]), (7, [0, 2, 4])]


def test_tables_of_a_bucket_are_joined_and_buckets_stay_apart():
    one, two = (list(cut(table(4), np.array([0, 0, 1, 3]))) for _ in range(2))
    batches = sorted([*one, *two], key=lambda batch: batch["bucket"][0].as_py())
    assert [(bucket, found["place"].to_pylist()) for bucket, found in joined(batches)] == [
        (0, [0, 1, 0, 1]),
        (1, [2, 2]),
        (3, [3, 3]),
    ]


def test_a_part_shapes_its_rows_before_they_are_joined():
    batches = [*cut(table(2), np.array([0, 0]), 5), *cut(table(1), np.array([0]), 6)]
    [(_, rows)] = joined(batches, lambda part, rows: rows.append_column("part", pa.array([part] * rows.num_rows)))
    assert rows["part"].to_pylist() == [5, 5, 6]


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(buckets=st.lists(st.integers(0, 4), max_size=20))
def test_no_row_is_lost_or_doubled(buckets):
    whole = table(len(buckets))
    rows = [row for _, one in joined(cut(whole, np.array(buckets, dtype=np.int64))) for row in one.to_pylist()]
    assert sorted(rows, key=lambda row: row["place"]) == whole.to_pylist()


def test_batches_are_collected_up_to_the_rows_that_a_table_should_have():
    batches = table(7).to_batches(max_chunksize=2)
    assert [one.num_rows for one in collected(batches, rows=3)] == [4, 3]
    assert list(collected([], rows=3)) == []
    assert list(collected(table(0).to_batches(), rows=3)) == []


def test_plain_rows_have_the_asked_columns_in_the_asked_order():
    [batch] = plain(table(2), ["place", "name"])
    assert batch.to_pydict() == {"place": [0, 1], "name": ["n0", "n1"]}


def test_a_large_table_takes_several_values(monkeypatch):
    monkeypatch.setattr("etl.kernels.blobs._TABLE_ROWS", 2)
    assert found(uncut(table(5), 3)) == [(3, [0, 1]), (3, [2, 3]), (3, [4])]
    assert found(uncut(table(0), 3)) == [(3, [])]


def test_equal_strings_have_one_hash_whatever_stands_beside_them():
    one = hashed(pa.table({"a": ["x", "y", "\u00e9", "x"]}), ["a"])
    other = hashed(pa.table({"a": ["\u00e9", "x"]}), ["a"])
    assert one.tolist() == [other[1], one[1], other[0], other[1]]
    assert len(set(one.tolist())) == 3
    assert min(one) >= 0


def test_hashes_are_those_that_lakes_were_cut_by():
    assert hashed(pa.table({"a": ["q", "red shoes", ""]}), ["a"]).tolist() == [
        2574414720429460565,
        1611663410545469419,
        880122920902532387,
    ]


def test_the_order_of_columns_matters_to_a_hash():
    rows = pa.table({"a": ["x", "y"], "b": ["y", "x"]})
    assert len(set(hashed(rows, ["a", "b"]).tolist())) == 2
    assert hashed(rows, ["a", "b"]).tolist() == hashed(rows.take([1, 0]), ["b", "a"]).tolist()
