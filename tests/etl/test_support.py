import pytest

from etl.config import InteractionsConfig
from etl.support import supported
from etl.windows import TARGET

pytestmark = pytest.mark.spark

SCHEMA = (
    f"{TARGET} string, query_key string, item_id string, segment_name string, segment_value string, "
    "users_5d bigint, users_2d bigint, click_decay_hl2d double, purchase_decay_hl2d double, click_decay_hl9d double"
)
ROWS = [
    ("d", "q", "a", "all", "", 3, 0, 1.0, 1.0, 9.0),
    ("d", "q", "a", "country", "US", 1, 0, 9.0, 9.0, 9.0),
    ("d", "q", "b", "all", "", 1, 1, 2.0, 0.0, 0.0),
    ("d", "q", "c", "all", "", 3, 3, 0.5, 0.5, 8.0),
    ("d", "other", "c", "all", "", 3, 3, 0.0, 0.0, 0.0),
    ("e", "q", "c", "all", "", 3, 3, 0.0, 0.0, 0.0),
]


def kept(spark, actions=("click", "purchase"), **settings):
    config = InteractionsConfig(windows_days=(2, 5), half_lives_days=(2, 9), **settings)
    pairs = spark.createDataFrame(ROWS, SCHEMA)
    rows = supported(pairs, pairs, actions, config).collect()
    return {(row[TARGET], row.query_key, row.item_id, row.segment_name) for row in rows}


def all_but(*left_out):
    rows = {(row[0], row[1], row[2], row[3]) for row in ROWS}
    return rows - {row for row in rows if row[:3] in left_out or row in left_out}


def test_no_cap_and_no_minimum_keep_every_row(spark):
    assert kept(spark, top_items_per_query=0, min_users=0) == all_but()


def test_users_are_counted_per_row_in_the_longest_window(spark):
    assert kept(spark, top_items_per_query=0, min_users=2) == all_but(("d", "q", "a", "country"), ("d", "q", "b"))


def test_the_best_items_stay_with_all_their_segments_and_ties_go_by_item_id(spark):
    assert kept(spark, top_items_per_query=1) == all_but(("d", "q", "b"), ("d", "q", "c"))


def test_only_the_ranking_heads_actions_and_the_first_half_life_choose(spark):
    best_by_clicks = all_but(("d", "q", "a"), ("d", "q", "a", "country"), ("d", "q", "c"))
    assert kept(spark, actions=("click",), top_items_per_query=1) == best_by_clicks


def test_items_without_enough_users_take_no_place_among_the_best(spark):
    assert kept(spark, actions=("click",), top_items_per_query=1, min_users=2) == all_but(
        ("d", "q", "b"), ("d", "q", "c"), ("d", "q", "a", "country")
    )
