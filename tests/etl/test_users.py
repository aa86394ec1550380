import pytest

from etl.contract import columns as c
from etl.users import user_sketch, users_by_window

pytestmark = pytest.mark.spark


def sketches(spark, days: list[tuple[int, list[str]]], size: int):
    """(pair, age) -> the sketch of the users of that day."""
    rows = [("p", age, user) for age, users in days for user in users]
    frame = spark.createDataFrame(rows, "pair string, age int, user_id string")
    return frame.groupBy("pair", "age").agg(user_sketch("user_id", size).alias(c.USERS_SKETCH))


def users(spark, days, windows=(1, 3), size=4096):
    [row] = users_by_window(sketches(spark, days, size), ["pair"], "age", windows, size).collect()
    return [row[c.window_users(window)] for window in windows]


def test_below_the_size_a_window_counts_each_user_once(spark):
    days = [(0, ["a", "b", "b"]), (1, ["b", "c"]), (2, ["d"]), (3, ["e"])]
    assert users(spark, days, windows=(1, 2, 3, 4)) == [2, 3, 4, 5]


def test_a_window_without_users_has_none(spark):
    assert users(spark, [(2, ["a"])], windows=(1, 3)) == [0, 1]


def test_a_sketch_holds_the_smallest_hashes_in_order(spark):
    [row] = sketches(spark, [(0, [f"u{n}" for n in range(100)])], 10).collect()
    assert len(row[c.USERS_SKETCH]) == 10
    assert row[c.USERS_SKETCH] == sorted(row[c.USERS_SKETCH])


def test_above_the_size_the_figure_is_an_estimate_that_merging_keeps(spark):
    names = [f"u{number}" for number in range(6000)]
    together = users(spark, [(0, names)], windows=(1,), size=1024)
    split = [(0, names[:4000]), (1, names[2000:])]
    assert together[0] == pytest.approx(6000, rel=0.1)
    day, both = users(spark, split, windows=(1, 2), size=1024)
    assert day == pytest.approx(4000, rel=0.1)
    assert both == pytest.approx(6000, rel=0.1)
    assert users(spark, split[::-1], windows=(1, 2), size=1024) == [day, both]


def test_a_full_sketch_of_an_older_day_leaves_a_short_window_exact(spark):
    assert users(spark, [(0, ["a", "b"]), (2, [f"u{n}" for n in range(50)])], windows=(1, 3), size=8)[0] == 2
