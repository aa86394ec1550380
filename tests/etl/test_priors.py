import numpy as np
import pytest

from etl.config import InteractionsConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.partials import daily_tables, tiles_of_days
from etl.priors import STRONGEST, UNKNOWN, daily_moments, priors
from etl.skew import day_buckets
from tests.etl import reference
from tests.etl.logs import DAYS, EMPTY_DAY

DS = "2024-03-01"


def of(rows, prior=None, actions=("impression", "click")):
    """From rows (ds, segment_name, impressions, clicks) of pairs."""
    config = InteractionsConfig(windows_days=(1, 3), rate_prior_impressions=prior)
    names = ("ds", "segment_name", "impression_cnt", "click_cnt")
    daily = [dict(zip(names, row, strict=True)) for row in rows]
    sums = {ds: np.array(of_day) for ds, of_day in reference.moments(daily, actions).items()}
    return priors(sums, DateRange(DS, DS), actions, config)


def test_the_rate_of_everything_is_per_window_and_counts_each_event_once():
    older = [("2024-02-29", "all", 2, 2), ("2024-02-27", "all", 9, 9)]
    rows = [(DS, "all", 8, 2), (DS, "country", 8, 2), *older]
    assert of(rows).rate[DS].tolist() == [[1.0, 1.0], [0.25, 0.4]]


def test_the_strength_is_that_of_the_beta_distribution_with_these_moments():
    # Means 5 / 40 = 1/8; second moment (4*3 + 1*0) / (20*19 + 20*19).
    rows = [(DS, "all", 20, 4), (DS, "all", 20, 1)]
    mean, second = 5 / 40, 12 / 760
    strength = of(rows).strength[DS][1]
    assert strength == pytest.approx((mean - second) / (second - mean**2), rel=1e-12)


def test_pairs_that_hardly_differ_are_pulled_hard():
    rows = [(DS, "all", 1000, 100), (DS, "all", 1000, 100)]
    assert of(rows).strength[DS][1] == STRONGEST


def test_an_action_that_was_never_seen_has_the_usual_strength():
    assert of([(DS, "all", 20, 0)]).strength[DS][1] == UNKNOWN
    assert of([]).strength[DS].tolist() == [UNKNOWN, UNKNOWN]


def test_a_configured_strength_is_taken_as_it_is():
    assert of([(DS, "all", 20, 4)], prior=7.0).strength[DS].tolist() == [7.0, 7.0]


@pytest.mark.spark
def test_the_moments_of_days_are_those_of_their_pairs_in_any_order_of_actions(built):
    lake, actions = built.lake(), built.config.events.actions
    rows = lake.read(c.INTERACTIONS_DAILY).collect()
    for asked in (actions, actions[::-1]):
        found = daily_moments(lake, DAYS, asked)
        assert {ds: sums.tolist() for ds, sums in found.items()} == reference.moments(rows, asked)
    assert max(sums[0, 1] for sums in found.values()) > 0
    assert found.keys() == set(DAYS) - {EMPTY_DAY}
    one = DateRange(DAYS.start, DAYS.start)
    assert daily_moments(lake, one, actions).keys() == {DAYS.start}


@pytest.mark.spark
def test_slices_of_heavy_queries_add_up_to_the_same_moments(built):
    config, lake = built.config, built.lake()
    actions, events = config.events.actions, lake.read(c.EVENTS)
    buckets = day_buckets(events, DAYS, tasks=3, least=1)
    assert buckets.slices.heavy
    tables = daily_tables(events, actions, config.events.segments, buckets, 3)
    sums = {}
    for row in tiles_of_days(tables, actions, buckets).select("ds", "moments").collect():
        sums.setdefault(row.ds, []).append(row.moments)
    assert max(map(len, sums.values())) > 2
    wanted = daily_moments(lake, DAYS, sorted(actions))
    assert {ds: [sum(each) for each in zip(*of_day, strict=True)] for ds, of_day in sums.items()} == {
        ds: moments.ravel().tolist() for ds, moments in wanted.items()
    }
