import pytest

from etl.contract import columns as c
from etl.users import user_sketch

pytestmark = pytest.mark.spark


def sketch(spark, users: list[str], size: int) -> list[int]:
    frame = spark.createDataFrame([(user,) for user in users], "user_id string")
    [row] = frame.agg(user_sketch("user_id", size).alias(c.USERS_SKETCH)).collect()
    return row[c.USERS_SKETCH]


def test_a_sketch_holds_the_smallest_hashes_in_order(spark):
    users = [f"u{number}" for number in range(100)]
    whole = sketch(spark, users, 1000)
    assert len(whole) == 100
    assert whole == sorted(whole)
    assert sketch(spark, users, 10) == whole[:10]


def test_a_user_counts_once_in_any_order(spark):
    assert sketch(spark, ["a", "b", "a"], 10) == sketch(spark, ["b", "a"], 10)
