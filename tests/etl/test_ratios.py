"""The chain of rates by hand on three pairs; the whole table is held to the reference in test_interactions."""

import pytest

from etl.contract import columns as c
from etl.ratios import with_shares_and_rates
from etl.windows import TARGET

pytestmark = pytest.mark.spark

ACTIONS, PRIOR = ("impression", "click"), 10.0
COUNTS = "impression_cnt_7d bigint, click_cnt_7d bigint"
PAIR_SCHEMA = f"{TARGET} string, query_key string, item_id string, segment_name string, segment_value string, {COUNTS}"
QUERY_SCHEMA = f"{TARGET} string, query_key string, segment_name string, segment_value string, {COUNTS}"

PAIRS = [
    ("d", "red shoes", "a", "all", "", 30, 6),
    ("d", "red shoes", "a", "country", "US", 10, 4),
    ("d", "red shoes", "b", "all", "", 10, 0),
    ("d", "shoes", "a", "all", "", 50, 5),
]
QUERIES = [
    ("d", "red shoes", "all", "", 40, 6),
    ("d", "red shoes", "country", "US", 15, 4),
    ("d", "shoes", "all", "", 50, 5),
]


def rows(spark, pairs=PAIRS, queries=QUERIES, actions=ACTIONS):
    frame = with_shares_and_rates(
        spark.createDataFrame(pairs, PAIR_SCHEMA), spark.createDataFrame(queries, QUERY_SCHEMA), actions, [7], PRIOR
    )
    return {(row.query_key, row.item_id, row.segment_name): row for row in frame.collect()}


def pulled(done, shown, parent):
    return (done + PRIOR * parent) / (shown + PRIOR)


def test_each_level_is_pulled_towards_the_coarser_one(spark):
    found = rows(spark)
    everywhere = 11 / 90
    query = pulled(6, 40, everywhere)
    # 'red' was seen with item a under one query, 'shoes' under both: 30 + (30 + 50) impressions, 6 + (6 + 5) clicks.
    pair = pulled(6, 30, pulled(17, 110, query))
    assert found["red shoes", "a", "all"].click_rate_7d == pytest.approx(pair, rel=1e-12)
    assert found["red shoes", "a", "country"].click_rate_7d == pytest.approx(pulled(4, 10, pair), rel=1e-12)
    # Item b was never clicked: its words and its own impressions speak against it, its query for it.
    alone = pulled(0, 10, pulled(0, 20, query))
    assert found["red shoes", "b", "all"].click_rate_7d == pytest.approx(alone, rel=1e-12)


def test_a_share_is_of_the_same_query_action_and_segment(spark):
    found = rows(spark)
    assert found["red shoes", "a", "all"].impression_share_7d == 30 / 40
    assert found["red shoes", "a", "country"].impression_share_7d == 10 / 15
    assert found["red shoes", "a", "country"].click_share_7d == 1.0
    assert found["red shoes", "b", "all"].click_share_7d == 0.0


def test_a_share_of_nothing_is_0(spark):
    found = rows(spark, [("d", "q", "a", "all", "", 5, 0)], [("d", "q", "all", "", 5, 0)])
    assert found["q", "a", "all"].click_share_7d == 0.0
    assert found["q", "a", "all"].click_rate_7d == 0.0


def test_a_word_that_stands_twice_in_a_query_counts_once(spark):
    found = rows(spark, [("d", "q q", "a", "all", "", 5, 1)], [("d", "q q", "all", "", 5, 1)])
    level = pulled(1, 5, 1 / 5)
    assert found["q q", "a", "all"].click_rate_7d == pytest.approx(pulled(1, 5, pulled(1, 5, level)), rel=1e-12)


def test_days_do_not_mix(spark):
    other = [("e", *row[1:-2], 1, 1) for row in PAIRS], [("e", *row[1:-2], 1, 1) for row in QUERIES]
    alone, both = rows(spark), with_shares_and_rates(
        spark.createDataFrame(PAIRS + other[0], PAIR_SCHEMA),
        spark.createDataFrame(QUERIES + other[1], QUERY_SCHEMA), ACTIONS, [7], PRIOR,
    ).where(f"{TARGET} = 'd'")  # fmt: skip
    assert sorted(map(tuple, both.collect())) == sorted(map(tuple, alone.values()))


def test_a_log_without_impressions_has_no_rates(spark):
    pairs = [("d", "q", "a", "all", "", 0, 3)]
    found = rows(spark, pairs, [("d", "q", "all", "", 0, 3)], actions=("click",))
    assert found["q", "a", "all"].click_rate_7d == 0.0
    assert c.window_share("click", 7) in found["q", "a", "all"].asDict()


def test_impressions_that_were_not_logged_in_a_window_give_finite_rates(spark):
    found = rows(spark, [("d", "q", "a", "all", "", 0, 3)], [("d", "q", "all", "", 0, 3)])
    level = 0.0
    for _ in range(3):
        level = pulled(3, 0, level)
    assert found["q", "a", "all"].click_rate_7d == pytest.approx(level, rel=1e-12)
