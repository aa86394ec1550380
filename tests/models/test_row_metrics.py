"""Figures over rows against the same functions on rows that are really repeated."""

from pathlib import Path

import numpy as np
import pytest

from etl.contract.manifest import TEST
from models import metrics
from models.bootstrap import drawn_counts
from models.dataset import Export, Rows
from models.row_metrics import of_head, row_metrics
from models.scorers import RowScores
from tests.models.export_fixture import World, write_export

HEADS = ("engagement", "purchase")


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    found = Export(write_export(tmp_path / "data", World(requests=(5, 5, 12)))).split(TEST)
    found.weight[:] = np.random.default_rng(1).choice([0.5, 1.0, 4.0], len(found))
    return found


def some_scores(rows: Rows, seed: int) -> RowScores:
    logits = np.random.default_rng(seed).normal(size=(len(rows), 2)).round(1)  # with ties
    return RowScores(logits[:, 0], logits)


def expected(score: RowScores, rows: Rows, at: np.ndarray) -> dict[str, float]:
    label, weight, logits = rows.labels[at], rows.weight[at], score.logits[at]
    ratios = [
        metrics.Calibration.of(metrics.sigmoid(logits[:, head]), label[:, head], weight).ratio for head in range(2)
    ]
    return {
        "row_auc": metrics.row_auc(score.ranking[at], label[:, 0]),
        "logloss": metrics.log_loss(logits[:, 0], label[:, 0], weight),
        "calibration": ratios[0],
        of_head("engagement"): ratios[0],
        of_head("purchase"): ratios[1],
    }


def test_each_resample_is_the_figure_over_the_rows_of_the_requests_that_were_drawn(rows: Rows):
    score = some_scores(rows, 2)
    found = row_metrics({"a": score}, rows, HEADS, seed=5)["a"]
    whole = expected(score, rows, np.arange(len(rows)))
    assert {name: figure.value for name, figure in found.items()} == whole
    counts = next(drawn_counts(rows.requests, seed=5)).astype(int)
    for sample in range(20):
        at = np.repeat(np.arange(len(rows)), counts[sample][rows.request_of_row()])
        for name, value in expected(score, rows, at).items():
            assert found[name].samples[sample] == pytest.approx(value, nan_ok=True), name


def test_differences_pair_the_resamples(rows: Rows):
    score = some_scores(rows, 2)
    better = RowScores(score.ranking + 0.01 * rows.labels[:, 0], None)
    found = row_metrics({"a": score, "again": score, "better": better}, rows, HEADS, seed=5)
    assert (found["again"]["logloss"] - found["a"]["logloss"]).plain("x") == {"x": 0.0, "x_ci": [0.0, 0.0]}
    low, high = (found["better"]["row_auc"] - found["a"]["row_auc"]).plain("x")["x_ci"]
    assert 0 <= low <= high
    assert sorted(found["better"]) == ["row_auc"]


def test_rows_without_a_score_are_left_out_and_what_judges_nothing_is_none(rows: Rows):
    unknown = rows.request_of_row() == 0
    score = some_scores(rows, 2)
    oracle = RowScores(np.where(unknown, np.nan, score.ranking), None)
    found = row_metrics({"oracle": oracle}, rows, HEADS, seed=5)["oracle"]["row_auc"]
    assert found.value == metrics.row_auc(score.ranking[~unknown], rows.labels[~unknown, 0])
    rows.labels[:, 1] = 0
    nothing = row_metrics({"a": score}, rows, HEADS, seed=5)["a"][of_head("purchase")]
    assert nothing.plain("ratio") == {"ratio": None, "ratio_ci": [None, None]}
