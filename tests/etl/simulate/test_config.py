import dataclasses

import pytest

from etl.contract.errors import UnknownNameError
from etl.simulate.config import EFFECTS, SimulateConfig


def test_without_takes_only_the_named_effect_away() -> None:
    knobs = SimulateConfig().without("drift")
    assert knobs.drift_strength == 0
    assert dataclasses.replace(knobs, drift_strength=SimulateConfig().drift_strength) == SimulateConfig()


def test_without_history_closes_the_vocabulary_gap_too() -> None:
    knobs = SimulateConfig().without("history")
    assert (knobs.hidden_strength, knobs.gap_share) == (0, 0)


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_effect_can_be_taken_away(effect: str) -> None:
    knobs = SimulateConfig().without(effect)
    assert all(getattr(knobs, field) == 0 for field in EFFECTS[effect])


def test_an_unknown_effect_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'drift'"):
        SimulateConfig().without("drfit")


@pytest.mark.parametrize(
    ("field", "value"),
    [("gap_share", 1.5), ("late_rate", -0.1), ("mean_shown", 8), ("pool_items", 1000), ("distinct_queries", 0)],
)
def test_impossible_values_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        SimulateConfig(**{field: value})
