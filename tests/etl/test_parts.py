"""Tables of tiles on their way to the buckets of a job."""

import pyarrow as pa
import pytest

from etl.kernels.blobs import NO_SLICES, Slices, cut, from_value, hashed
from etl.parts import routed

pytestmark = pytest.mark.spark

ROWS = pa.table({"query_key": ["q", "q", "q", "r", "s", "t"], "item_id": list("abcabc")})
QUERIES = pa.table({"query_key": list("qrst")})


def found(spark, of: int, buckets: int, slices=NO_SLICES) -> list[tuple[int, int, str, str]]:
    """(bucket, part, query, item) of rows that were stored in ``of`` buckets."""
    stored = [
        (bucket, of, 7, bytes(value))
        for batch in cut(ROWS, hashed(ROWS, ["query_key"]) % of)
        for bucket, value in zip(batch["bucket"].to_pylist(), batch["table"].to_pylist(), strict=True)
    ]
    tables = spark.createDataFrame(stored, "bucket int, buckets int, part int, table binary")
    return [
        (row.bucket, row.part, one["query_key"], one["item_id"])
        for row in routed(tables, buckets, slices).collect()
        for one in from_value(pa.scalar(bytes(row.table), pa.binary())).to_pylist()
    ]


@pytest.mark.parametrize(("of", "buckets"), [(1, 1), (1, 8), (8, 8), (32, 4)])
def test_a_row_comes_to_the_bucket_of_its_query_however_it_was_stored(spark, of, buckets):
    rows = found(spark, of, buckets)
    places = (hashed(ROWS, ["query_key"]) % buckets).tolist()
    expected = [
        (place, 7, row["query_key"], row["item_id"]) for place, row in zip(places, ROWS.to_pylist(), strict=True)
    ]
    assert sorted(rows) == sorted(expected)


@pytest.mark.parametrize("of", [1, 1024])
def test_items_of_a_heavy_query_are_sliced_and_all_others_stay_together(spark, of):
    rows = found(spark, of, 1024, Slices(("q",), 1000))
    assert sorted((query, item) for _, _, query, item in rows) == sorted(zip(*ROWS.to_pydict().values(), strict=True))
    places = {query: int(place) for query, place in zip("qrst", hashed(QUERIES, ["query_key"]) % 1024, strict=True)}
    assert {bucket % 1024 for bucket, _, query, _ in rows if query == "q"} == {places.pop("q")}
    assert len({bucket for bucket, _, query, _ in rows if query == "q"}) == 3
    assert {query: bucket for bucket, _, query, _ in rows if query != "q"} == places
