"""Against plain Python, with ties."""

import math

import numpy as np
import pytest

from models.metrics import PER_REQUEST, Calibration, log_loss, request_metrics, row_auc, sigmoid, tie_keys


def _reference(score: list[float], label: list[int], ties: list[int]) -> dict[str, float]:
    order = sorted(range(len(score)), key=lambda row: (-score[row], ties[row]))
    ranked = [label[row] for row in order]
    if not any(ranked):
        return dict.fromkeys(PER_REQUEST, math.nan)
    gain = sum(hit / math.log2(rank + 2) for rank, hit in enumerate(ranked[:10]))
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(sum(ranked), 10)))
    pairs = [
        1.0 if score[a] > score[b] else 0.5 if score[a] == score[b] else 0.0
        for a in range(len(score))
        for b in range(len(score))
        if label[a] and not label[b]
    ]
    return {f"hits@{k}": float(any(ranked[:k])) for k in (1, 3, 10)} | {
        "ndcg@10": gain / ideal,
        "mrr": 1 / (ranked.index(1) + 1),
        "auc": sum(pairs) / len(pairs) if pairs else math.nan,
    }


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_the_plain_reference(seed: int):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 25, 60)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    rows = int(starts[-1])
    score = rng.integers(0, 5, rows).astype(float)
    label = (rng.random(rows) < rng.choice([0.0, 0.1, 0.5, 1.0], 60).repeat(sizes)).astype(np.int8)
    ties = tie_keys(np.arange(60).repeat(sizes), rng.integers(0, 1000, rows).astype(np.int32))
    found = request_metrics(starts, score, label, ties)
    for request in range(60):
        part = slice(starts[request], starts[request + 1])
        expected = _reference(score[part].tolist(), label[part].tolist(), ties[part].tolist())
        for name in PER_REQUEST:
            np.testing.assert_allclose(found[name][request], expected[name], err_msg=f"{name} of {request}")


def test_ties_favour_neither_positives_nor_the_first_shown():
    requests, size = 4000, 10
    starts = np.arange(requests + 1) * size
    label = np.tile([1, *[0] * (size - 1)], requests)
    item = np.random.default_rng(0).integers(0, 10_000, requests * size).astype(np.int32)
    ties = tie_keys(np.arange(requests).repeat(size), item)
    found = request_metrics(starts, np.zeros(requests * size), label, ties)
    assert found["hits@1"].mean() == pytest.approx(0.1, abs=0.02)
    assert found["hits@3"].mean() == pytest.approx(0.3, abs=0.03)
    assert (found["auc"] == 0.5).all()


def test_row_auc_counts_pairs_across_requests():
    assert row_auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([0, 1, 0, 1])) == pytest.approx(3.5 / 4)
    assert math.isnan(row_auc(np.array([1.0, 2.0]), np.array([1, 1])))


def test_log_loss_is_the_mean_cross_entropy_even_for_extreme_logits():
    logit, label = np.array([0.5, -2.0, 1.0]), np.array([1, 0, 0])
    p = sigmoid(logit)
    assert log_loss(logit, label) == pytest.approx(float(-np.mean(label * np.log(p) + (1 - label) * np.log(1 - p))))
    assert log_loss(np.array([1000.0, -1000.0]), np.array([1, 0])) == 0.0


def test_log_loss_and_calibration_weigh_rows_and_weights_of_1_change_nothing():
    logit, label, weight = np.array([0.3, -1.2, 2.0, 0.1]), np.array([1, 0, 0, 1]), np.array([3.0, 1.0, 0.0, 2.0])
    probability = sigmoid(logit)
    again = np.repeat(np.arange(4), weight.astype(int))
    assert log_loss(logit, label, weight) == pytest.approx(log_loss(logit[again], label[again]))
    found, repeated = Calibration.of(probability, label, weight), Calibration.of(probability[again], label[again])
    assert (found.predicted, found.observed) == pytest.approx((repeated.predicted, repeated.observed))
    # The bin of the row that weighs nothing is left out: it has no mean.
    assert [entry["predicted"] for entry in found.bins] == pytest.approx(sorted(probability)[:3])
    assert log_loss(logit, label, np.ones(4)) == log_loss(logit, label)
    assert Calibration.of(probability, label, np.ones(4)) == Calibration.of(probability, label)
    assert math.isnan(log_loss(logit, label, np.zeros(4)))


def test_reliability_bins_hold_equal_numbers_in_order_of_prediction():
    probability = np.linspace(0, 1, 50)
    found = Calibration.of(probability, (probability > 0.5).astype(int))
    assert [entry["rows"] for entry in found.bins] == [5.0] * 10
    predicted = [entry["predicted"] for entry in found.bins]
    assert predicted == sorted(predicted)
    assert found.bins[0]["observed"] == 0.0
    assert found.bins[-1]["observed"] == 1.0
    assert found.ratio == pytest.approx(1.0)
