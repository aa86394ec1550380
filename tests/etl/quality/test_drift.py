import numpy as np
import pytest

from etl.contract.statistics import FeatureStatistics, psi
from etl.errors import GateError
from etl.quality.drift import Drift, check_drift, drift_of
from etl.quality.statistics import Summary, edges_of, shares_of


def of(values: np.ndarray) -> FeatureStatistics:
    edges = edges_of(values)
    return FeatureStatistics(len(values), 0.0, None, None, None, None, {}, edges, shares_of(values, edges))


def test_drift_is_counted_in_the_bins_of_the_baseline():
    draw = np.random.default_rng(1)
    old, new = draw.normal(size=5000), draw.normal(loc=0.5, size=5000)
    drift = drift_of(Summary({}, {"a": new, "b": old}), {"a": of(old), "b": of(old)})
    inside = [np.mean((old > low) & (old <= high)) for low, high in bins(of(old).edges)]
    now = [np.mean((new > low) & (new <= high)) for low, high in bins(of(old).edges)]
    assert drift.psi == {"a": pytest.approx(psi(inside, now)), "b": 0.0}
    # Two normals half a deviation apart: the integral of (p - q) ln(p / q) is 0.25, and bins lose a little.
    assert 0.2 < drift.psi["a"] < 0.27


def bins(edges):
    return zip((-np.inf, *edges), (*edges, np.inf), strict=True)


def test_a_sparse_feature_drifts_when_its_zeros_become_fewer():
    old, new = np.repeat([0.0, 1.0], [990, 10]), np.repeat([0.0, 1.0], [500, 500])
    [found] = drift_of(Summary({}, {"a": new}), {"a": of(old)}).psi.values()
    assert found == pytest.approx(psi((0.99, 0.01), (0.5, 0.5)))


def test_a_constant_that_grows_has_drifted():
    [found] = drift_of(Summary({}, {"a": np.full(9, 5.0)}), {"a": of(np.full(9, 3.0))}).psi.values()
    assert found > 1


def test_features_of_one_export_only_are_listed():
    values = np.arange(5.0)
    drift = drift_of(Summary({}, {"both": values, "new": values}), {"both": of(values), "gone": of(values)})
    assert drift == Drift({"both": 0.0}, ("gone", "new"))


def test_the_gate_names_what_drifted_too_far_worst_first():
    drift = Drift({"a": 0.3, "b": 0.1, "c": 0.7}, ())
    with pytest.raises(GateError, match=r"(?s)'c' drifted: PSI 0.7, .*'a' drifted: PSI 0.3, .*rows of old") as caught:
        check_drift(drift, 0.25, "old")
    assert caught.value.exit_code == 3
    assert len(caught.value.failures) == 2


def test_a_limit_of_zero_only_reports():
    assert check_drift(Drift({"a": 9.0}, ()), 0.0, "old") is None
