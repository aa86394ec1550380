import numpy as np
import pytest

from models.errors import ExportError
from models.fusion import Fusion
from models.scaling import CrossScaling


def _cross() -> np.ndarray:
    rng = np.random.default_rng(0)
    share = np.where(rng.random(4000) < 0.3, rng.lognormal(-7, 1, 4000), 0)
    rate = rng.lognormal(-3, 0.5, 4000)
    decayed = np.where(rng.random(4000) < 0.3, rng.lognormal(3, 2.5, 4000), 0)
    return np.stack([share, rate, decayed, np.ones(4000)], axis=1).astype(np.float32)


NAMES = ("all__click_share_7d", "all__click_rate_30d", "all__click_decay_hl14d", "all__has_history")


def test_features_of_any_size_come_out_alike():
    scaled = CrossScaling.fit(_cross(), NAMES).apply(_cross())
    np.testing.assert_allclose(scaled[:, :3].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled[:, :3].std(axis=0), 1, atol=1e-6)
    assert np.abs(scaled).max() < 12
    np.testing.assert_allclose(scaled[:, 3], 0, atol=1e-12)


def test_scaling_is_strictly_monotone_and_negative_values_count_as_zero():
    scaling = CrossScaling.fit(_cross(), NAMES)
    steps = np.array([-1.0, 0.0, 1e-4, 1e-2, 1.0, 1e4])[:, None].repeat(4, axis=1)
    scaled = scaling.apply(steps)
    assert (scaled[0] == scaled[1]).all()
    assert (np.diff(scaled[1:], axis=0) > 0).all()


def test_unit_does_not_matter():
    cross = _cross()[:, :1]
    one, thousand = CrossScaling.fit(cross, NAMES[:1]), CrossScaling.fit(cross * 1000, NAMES[:1])
    np.testing.assert_allclose(one.apply(cross), thousand.apply(cross * 1000), atol=1e-4)


def test_it_is_recorded_exactly():
    scaling = CrossScaling.fit(_cross(), NAMES)
    assert CrossScaling.from_plain(scaling.to_plain()) == scaling


def test_no_rows_and_negative_values_are_errors():
    with pytest.raises(ExportError, match="no rows"):
        CrossScaling.fit(np.zeros((0, 1), np.float32), NAMES[:1])
    with pytest.raises(ExportError, match="'all__click_share_7d' is negative"):
        CrossScaling.fit(np.array([[-0.1]], np.float32), NAMES[:1])


def test_without_cross_features_there_is_nothing_to_scale():
    assert CrossScaling.fit(np.zeros((3, 0), np.float32), ()).apply(np.zeros((3, 0))).shape == (3, 0)


def test_terms_and_constant_are_the_weighted_sum_of_scaled_features():
    scaling = CrossScaling.fit(_cross(), NAMES)
    fusion = Fusion(2.0, (0.5, -0.2, 0.1, 3.0), (0.3, -1.0), (0.75, 0.25), scaling)
    expected = scaling.apply(_cross()) @ np.array(fusion.weights) + 0.75 * 0.3 - 0.25
    np.testing.assert_allclose(fusion.cross_score(_cross()), expected, atol=1e-9)
    by_hand = sum(term.slope * np.log1p(term.rate * 0.5) for term in fusion.terms()) + fusion.constant()
    assert fusion.cross_score(np.full((1, 4), 0.5))[0] == pytest.approx(by_hand)
