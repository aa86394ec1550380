"""The windows of random logs against the plain reference, through tiles, without Spark."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.config import FAMILIES
from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.kernels.rates import Priors
from tests.etl import reference
from tests.etl.kernels.rows import part_rows, windows
from tests.etl.logs import random_log, small_config


def fixed_priors(events, days, config) -> Priors:
    """The reference's global rates, and the strength that the configuration fixes."""
    actions, widths = config.events.actions, sorted(config.interactions.windows_days)
    rates = {}
    for ds in days:
        counts = [reference.Counts(events, ds, width, config).total for width in widths]
        rates[ds] = np.array([[count[action] / max(1, count["impression"]) for count in counts] for action in actions])
    strength = np.full(len(actions), config.interactions.rate_prior_impressions)
    return Priors(rates, dict.fromkeys(days, strength))


def assert_same(rows, events, ds, config):
    found = {tuple(row[name] for name in c.PAIR_KEY): row for row in rows if row["ds"] == ds}
    expected = reference.interactions(events, ds, config)
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        values = {name: found[key][name] for name in row}
        assert values == pytest.approx(row, rel=1e-9, abs=0), key


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 2**31),
    gaps=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    widths=st.sampled_from([(1, 4), (3,), (7, 30, 90), (5, 64), (1, 2, 17)]),
    top=st.sampled_from([0, 1, 2]),
    min_users=st.sampled_from([0, 1, 2]),
    segments=st.sampled_from([(), ("country",), ("country", "gender")]),
)
def test_windows_of_random_logs_are_those_of_the_reference(seed, gaps, widths, top, min_users, segments):
    config = small_config(windows_days=widths, top_items_per_query=top, min_users=min_users, segments=segments)
    days = ["2024-01-30"]
    for gap in gaps:
        days.append(shift_ds(days[-1], gap))
    events = reference.kept(random_log(days, 4, seed), DateRange(days[0], days[-1]), config)
    end = random.Random(seed).choice([days[-1], shift_ds(days[-1], 1), shift_ds(days[-1], widths[-1] - 1)])
    asked = DateRange(shift_ds(end, -1), end)
    rows = windows(events, asked, config, fixed_priors(events, asked, config))
    for ds in asked:
        assert_same(rows, events, ds, config)


@pytest.mark.parametrize("fresh_days", [1, 3, 50])
def test_debiased_rates_and_shares_among_fresh_items_are_those_of_the_reference(fresh_days):
    config = small_config(windows_days=(3, 9), families=FAMILIES, fresh_days=fresh_days, top_items_per_query=1)
    days = ["2024-02-20", "2024-02-24", "2024-02-27", "2024-02-28", "2024-03-01"]
    events = reference.kept(random_log(days, 3, fresh_days), DateRange(days[0], days[-1]), config)
    asked = DateRange("2024-02-29", "2024-03-01")
    rows = windows(events, asked, config, fixed_priors(events, asked, config))
    for ds in asked:
        assert_same(rows, events, ds, config)


def test_a_day_alone_and_within_a_range_is_the_same_to_the_last_bit():
    config = small_config(windows_days=(3, 40))
    days = [shift_ds("2024-01-20", step) for step in range(45)]
    events = reference.kept(random_log(days, 3, 7), DateRange(days[0], days[-1]), config)
    together = windows(events, DateRange(days[-4], days[-1]), config)
    for ds in days[-4:]:
        alone = windows(events, DateRange(ds, ds), config)
        assert [row for row in together if row["ds"] == ds] == alone


def test_a_tile_holds_each_pair_of_its_days_once():
    config = small_config()
    part = DateRange("2024-02-28", "2024-03-02")
    events = reference.kept(random_log(part.days(), 6, 1), part, config)
    [single] = {len(part)}
    tile = part_rows(events, [part], config)
    assert single == 4
    pairs = {(key[1:]) for key in reference.daily_pairs(events, config)}
    found = [tuple(row[name] for name in c.PAIR_KEY) for row in tile.to_pylist()]
    assert sorted(found) == sorted(pairs)
