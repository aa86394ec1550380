import dataclasses
import math

import numpy as np
import pytest

from etl.simulate.behaviour import CLICK, IMPRESSION, SAVE, Rows, act, items_of, probability
from etl.simulate.config import SimulateConfig
from etl.simulate.streams import Stream, generator
from etl.simulate.world import DAY_MS
from tests.etl.simulate.worlds import Played, play


def rows_of(played: Played) -> Rows:
    return act(played.world, played.requests, played.shown, generator(7, Stream.REQUESTS, 99))


def reference_probability(played: Played, row: int, slot: int) -> float:
    """The truth in plain Python."""
    world, requests, knobs = played.world, played.requests, played.world.spec.knobs
    catalogue, users, queries = world.catalogue, world.users, world.queries
    user, query = int(requests.user[row]), int(requests.query[row])
    day, item, leaf = requests.time_ms[row] / DAY_MS, int(queries.pool[query, slot]), int(queries.leaf[query])
    logit = float(queries.pool_logit[query, slot])
    for strength, styles in (
        (knobs.country_strength, users.country_style[users.country[user], leaf]),
        (knobs.gender_strength, users.gender_style[users.gender[user], leaf]),
    ):
        logit += strength * sum(a * b for a, b in zip(styles, catalogue.style[item], strict=True)) / 8**0.5
    angle = 2 * math.pi * day / 365
    for k in range(9):
        one, two = (users.dispositions[d, :, k] for d in users.disposition[user])
        taste = ((one[0] + two[0]) * math.cos(angle) + (one[1] + two[1]) * math.sin(angle)) / 2**0.5
        logit += knobs.taste_strength * taste * catalogue.taste[item, k] / 3
    for period, phase in zip(catalogue.wave_days[item], catalogue.wave_phase[item], strict=True):
        logit += knobs.drift_strength * math.sin(2 * math.pi * day / period + phase)
    return 1 / (1 + math.exp(-logit))


def test_probability_is_the_sum_of_the_described_effects() -> None:
    played = play(requests=20)
    found = probability(played.world, played.requests, played.shown.slot)
    for row, column in [(0, 0), (7, 3), (19, 10)]:
        expected = reference_probability(played, row, int(played.shown.slot[row, column]))
        assert found[row, column] == pytest.approx(expected, abs=1e-4)


def moved(played: Played, **changes: np.ndarray) -> np.ndarray:
    return probability(played.world, dataclasses.replace(played.requests, **changes), played.shown.slot)


def shift_of(played: Played, **changes: np.ndarray) -> float:
    return float(np.abs(moved(played, **changes) - moved(played)).max())


def same_user_elsewhere(played: Played) -> Played:
    """The same requests, by users of the next country and gender."""
    users = played.world.users
    users = dataclasses.replace(users, country=(users.country + 1) % 6, gender=(users.gender + 1) % 3)
    return dataclasses.replace(played, world=dataclasses.replace(played.world, users=users))


def test_country_and_gender_matter_unless_segments_are_off() -> None:
    for knobs, matters in [(SimulateConfig(), True), (SimulateConfig().without("segments"), False)]:
        played = play(knobs)
        change = np.abs(moved(same_user_elsewhere(played)) - moved(played)).max()
        assert (change > 0.05) == matters


def test_time_matters_unless_drift_and_tastes_are_off() -> None:
    later = play().requests.time_ms + 14 * DAY_MS
    assert shift_of(play(), time_ms=later) > 0.05
    assert shift_of(play(SimulateConfig().without("drift", "tastes")), time_ms=later) == 0


def test_the_user_matters_unless_tastes_and_segments_are_off() -> None:
    other = np.roll(play().requests.user, 1)
    assert shift_of(play(), user=other) > 0.05
    assert shift_of(play(SimulateConfig().without("segments")), user=other) > 0.05
    assert shift_of(play(SimulateConfig().without("segments", "tastes")), user=other) == 0


def test_without_any_effect_beyond_text_items_of_equal_relevance_are_equally_likely() -> None:
    played = play(SimulateConfig().without("history", "drift", "segments", "tastes"))
    knobs = played.world.spec.knobs
    edges = [knobs.base_logit + leaf + attribute for leaf in (0, knobs.off_leaf_logit) for attribute in (0, 0.5, 1)]
    logits = [math.log(p / (1 - p)) for p in moved(played).ravel().tolist()]
    assert {min(edges, key=lambda edge: abs(edge - logit)) for logit in logits} <= set(edges)
    assert all(min(abs(edge - logit) for edge in edges) < 1e-4 for logit in logits)


def test_the_drift_is_smooth() -> None:
    played = play(SimulateConfig().without("tastes"))
    assert shift_of(played, time_ms=played.requests.time_ms + DAY_MS) < 0.1


def test_taste_shows_in_what_a_user_likes_on_different_days() -> None:
    played = play(requests=50)
    users = played.world.users
    user = np.arange(len(users))
    first, last = (users.taste(user, np.full(len(users), 20_000.0 + day)) for day in (0, 20))
    assert np.corrcoef(first.ravel(), last.ravel())[0, 1] > 0.9


def test_items_are_not_shown_before_they_are_listed() -> None:
    played = play()
    item = items_of(played.world, played.requests, played.shown.slot)
    first = played.world.catalogue.first_seen_day[item]
    assert (first <= played.requests.day[:, None])[played.shown.mask].all()
    assert (played.world.catalogue.first_seen_day >= played.world.spec.start_day).any()


def test_requests_show_about_the_configured_number_of_distinct_items() -> None:
    played = play()
    shown = items_of(played.world, played.requests, played.shown.slot)
    depth = played.shown.mask.sum(axis=1)
    assert depth.mean() == pytest.approx(20, abs=0.5)
    assert all(len(set(row[:n])) == n for row, n in zip(shown.tolist(), depth.tolist(), strict=True))


def test_requests_lie_in_the_range_and_in_time_order() -> None:
    played = play()
    day = played.requests.day
    assert (np.diff(day) >= 0).all()
    assert played.world.spec.start_day <= day[0] < played.world.spec.start_day + 1
    assert played.world.spec.end_day - 1 <= day[-1] < played.world.spec.end_day


def test_the_funnel_starts_with_an_impression_and_goes_through_a_click() -> None:
    rows = rows_of(play())
    seen = {
        action: set(zip(rows.request[rows.action == action], rows.item[rows.action == action], strict=True))
        for action in range(5)
    }
    assert all(seen[action] <= seen[CLICK] for action in range(CLICK, 5))
    assert seen[CLICK] <= seen[IMPRESSION]
    assert len(seen[IMPRESSION]) == (rows.action == IMPRESSION).sum()


def test_actions_follow_their_request_within_a_day_unless_late() -> None:
    played = play()
    rows = rows_of(played)
    delay = rows.time_ms - played.requests.time_ms[rows.request]
    assert (delay[rows.action == IMPRESSION] == 0).all()
    assert (delay[rows.action >= CLICK] > 0).all()
    assert (delay[~rows.late] <= DAY_MS + 600_000).all()
    assert rows.late.any()
    assert ((delay[rows.late] > DAY_MS) & (delay[rows.late] < 3 * DAY_MS + 600_000)).all()


def click_rate(rows: Rows, low: int, high: int) -> float:
    at = (rows.position >= low) & (rows.position <= high)
    return float((at & (rows.action == CLICK)).sum() / (at & (rows.action == IMPRESSION)).sum())


def test_position_bias_thins_the_clicks_at_the_bottom_as_configured() -> None:
    biased = rows_of(play(requests=3000))
    even = rows_of(play(SimulateConfig().without("position_bias"), requests=3000))
    ratio = (click_rate(biased, 9, 16) / click_rate(even, 9, 16)) / (click_rate(biased, 1, 1) / click_rate(even, 1, 1))
    assert ratio == pytest.approx(np.mean([rank**-0.5 for rank in range(9, 17)]), abs=0.06)


def test_clicks_come_at_the_true_rate_when_everything_is_examined() -> None:
    played = play(SimulateConfig().without("position_bias"), requests=3000)
    rows = rows_of(played)
    expected = moved(played)[played.shown.mask].mean()
    assert click_rate(rows, 1, 28) == pytest.approx(expected, rel=0.05)


def test_a_share_of_zero_never_happens() -> None:
    rows = rows_of(play(SimulateConfig(save_share=0.0)))
    assert not (rows.action == SAVE).any()
