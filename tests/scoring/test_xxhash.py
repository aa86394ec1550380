"""Hashes of strings equal Spark's, for every length of string that takes another path."""

import pyarrow as pa
import pytest

from scoring.xxhash import xxhash64

STRINGS = ["", "a", "abc", "item-1", "item-12345", "é", "日本語の商品", *("x" * n + "y" for n in range(3, 80)), None]


def test_known_values_hold_for_slices_too():
    # Of Spark's own xxhash64('Spark'), xxhash64('').
    assert xxhash64(pa.array(["no", "Spark", ""]).slice(1)).tolist() == [-4294468057691064905, -7444071767201028348]
    assert xxhash64(pa.array([], pa.string())).tolist() == []
    assert xxhash64(pa.array([None], pa.string())).tolist() == [42]


@pytest.mark.spark
def test_hashes_equal_sparks(spark):
    rows = spark.createDataFrame([(value,) for value in STRINGS], "value string")
    known = {row.value: row.hash for row in rows.selectExpr("value", "xxhash64(value) AS hash").collect()}
    assert xxhash64(pa.array(STRINGS)).tolist() == [known[value] for value in STRINGS]
    assert xxhash64(pa.array(STRINGS, pa.large_string())).tolist() == [known[value] for value in STRINGS]
