"""When a model takes the champion's place: inline figures, then two real models on one export."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from etl.contract.manifest import TEST
from models.bootstrap import intervals
from models.dataset import Export
from models.errors import FeatureContractError
from models.metrics import request_metrics, tie_keys
from models.promotion import MIN_REQUESTS, Comparison, Decision, Estimate, compare, decide, require_fit
from models.scorers import RowScores, TowerScorer
from models.train import TrainResult

SEED = 5


def compared(low: float | None, high: float = 0.5, requests: int = 400) -> Comparison:
    """A candidate whose difference from the champion has these bounds; None: there is no champion."""
    own = Estimate(0.5, 0.4, 0.6)
    if low is None:
        return Comparison("ndcg@10", TEST, 3000, requests, own)
    return Comparison("ndcg@10", TEST, 3000, requests, own, own, Estimate((low + high) / 2, low, high))


@dataclass
class Fixed:
    """Scores given by hand."""

    scores: np.ndarray

    def score(self, export: Export, rows: Any, description: str, track: Any) -> RowScores:
        return RowScores(self.scores, None)


@pytest.mark.parametrize("force", [False, True])
def test_without_a_champion_any_model_is_promoted(force: bool):
    assert decide(compared(None, requests=1), force) == Decision(True, False, "the first champion")


@pytest.mark.parametrize("force", [False, True])
def test_an_interval_above_zero_promotes_without_force(force: bool):
    decision = decide(compared(0.001), force)
    assert (decision.promoted, decision.forced) == (True, False)


@pytest.mark.parametrize(
    ("comparison", "reason"),
    [
        (compared(-0.01), "does not lie above 0"),
        (compared(0.0), "does not lie above 0"),
        (compared(0.0, 0.0), "does not lie above 0"),
        (compared(-0.2, -0.1), "worse"),
        (compared(0.1, requests=MIN_REQUESTS - 1), f"only {MIN_REQUESTS - 1} requests"),
    ],
)
def test_anything_less_is_refused_unless_forced_and_says_why(comparison: Comparison, reason: str):
    refused, forced = decide(comparison, force=False), decide(comparison, force=True)
    assert (refused.promoted, refused.forced) == (False, False)
    assert (forced.promoted, forced.forced) == (True, True)
    assert reason in refused.reason
    assert refused.reason in forced.reason


def test_a_champion_that_cannot_be_compared_needs_force():
    assert decide(compared(None), force=False, blocked="its files are gone") == Decision(
        False, False, "its files are gone"
    )
    assert decide(compared(None), True, "its files are gone") == Decision(
        True, True, "forced although its files are gone"
    )


def test_the_difference_is_the_mean_over_requests_with_its_paired_interval(export: Export):
    rows = export.split(TEST)
    random = np.random.default_rng(2).normal(size=(2, len(rows)))
    found = compare(export, Fixed(random[0] + rows.labels[:, 0]), Fixed(random[1]), TEST, "mrr", SEED)
    ties = tie_keys(rows.request[rows.request_of_row()], rows.item)
    one, other = (
        request_metrics(rows.starts, scores, rows.labels[:, 0], ties)["mrr"]
        for scores in (random[0] + rows.labels[:, 0], random[1])
    )
    difference = (one - other)[~np.isnan(one)]
    low, high = intervals(difference[:, None], SEED)
    assert found.difference is not None
    assert found.difference.value == pytest.approx(difference.mean())
    assert (found.difference.low, found.difference.high) == pytest.approx((low[0], high[0]))
    assert found.champion is not None
    assert found.candidate.value - found.champion.value == pytest.approx(found.difference.value)
    assert (found.requests, found.rows) == (len(difference), len(rows))


def test_equal_models_differ_by_exactly_nothing(export: Export, two_tower: TrainResult):
    scorer = TowerScorer(two_tower.model, two_tower.spec)
    found = compare(export, scorer, scorer, TEST, "ndcg@10", SEED)
    assert found.difference == Estimate(0.0, 0.0, 0.0)
    assert not decide(found, force=False).promoted


def test_interactrank_takes_over_from_the_two_tower_and_not_the_other_way(
    export: Export, two_tower: TrainResult, interactrank: TrainResult
):
    plain, better = (TowerScorer(found.model, found.spec) for found in (two_tower, interactrank))
    assert decide(compare(export, better, plain, TEST, "ndcg@10", SEED), force=False).promoted
    assert decide(compare(export, plain, better, TEST, "ndcg@10", SEED), force=False).reason.startswith("it is worse")
    alone = compare(export, plain, None, TEST, "ndcg@10", SEED)
    assert (alone.champion, alone.difference) == (None, None)


@pytest.mark.parametrize(("change", "column"), [({"cross": ()}, r"cross\[0\]"), ({"dense_width": 7}, "dense")])
def test_a_model_of_another_contract_is_an_error_that_names_the_column(
    export: Export, two_tower: TrainResult, change: dict[str, Any], column: str
):
    require_fit(two_tower.spec, export)
    with pytest.raises(FeatureContractError, match=column):
        require_fit(replace(two_tower.spec, **change), export)
