import pytest

from etl.config import InteractionsConfig
from etl.contract.dates import DateRange
from etl.priors import STRONGEST, UNKNOWN, priors

pytestmark = pytest.mark.spark

SCHEMA = "ds string, item_id string, segment_name string, impression_cnt bigint, click_cnt bigint"
DS = "2024-03-01"


def of(spark, rows, prior=None, actions=("impression", "click")):
    config = InteractionsConfig(windows_days=(1, 3), rate_prior_impressions=prior)
    frame = spark.createDataFrame(rows, SCHEMA)
    return priors(frame, DateRange(DS, DS), actions, config)


def test_the_rate_of_everything_is_per_window_and_counts_each_event_once(spark):
    older = [("2024-02-29", "a", "all", 2, 2), ("2024-02-27", "a", "all", 9, 9)]
    rows = [(DS, "a", "all", 8, 2), (DS, "a", "country", 8, 2), *older]
    assert of(spark, rows).rate[DS].tolist() == [[1.0, 1.0], [0.25, 0.4]]


def test_the_strength_is_that_of_the_beta_distribution_with_these_moments(spark):
    # Means 5 / 40 = 1/8; second moment (4*3 + 1*0) / (20*19 + 20*19).
    rows = [(DS, "a", "all", 20, 4), (DS, "b", "all", 20, 1)]
    mean, second = 5 / 40, 12 / 760
    strength = of(spark, rows).strength[DS][1]
    assert strength == pytest.approx((mean - second) / (second - mean**2), rel=1e-12)


def test_pairs_that_hardly_differ_are_pulled_hard(spark):
    rows = [(DS, "a", "all", 1000, 100), (DS, "b", "all", 1000, 100)]
    assert of(spark, rows).strength[DS][1] == STRONGEST


def test_an_action_that_was_never_seen_has_the_usual_strength(spark):
    assert of(spark, [(DS, "a", "all", 20, 0)]).strength[DS][1] == UNKNOWN
    assert of(spark, []).strength[DS].tolist() == [UNKNOWN, UNKNOWN]


def test_a_configured_strength_is_taken_as_it_is(spark):
    assert of(spark, [(DS, "a", "all", 20, 4)], prior=7.0).strength[DS].tolist() == [7.0, 7.0]
