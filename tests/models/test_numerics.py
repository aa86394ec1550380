"""The mixture of three forms against a plain reference."""

import math

import numpy as np
import torch

from models.numerics import FormStatistics, NumericMixture

PRICES = [3.0, 10.0, 45.0, 200.0, math.nan]


def _mixture(columns: list[list[float]]) -> tuple[NumericMixture, torch.Tensor]:
    x = torch.tensor(columns, dtype=torch.float64).T
    torch.manual_seed(5)
    mixture = NumericMixture(FormStatistics.fit(x))
    with torch.no_grad():
        mixture.mix.weight.normal_()
        mixture.embedding.normal_()
    return mixture, x.float()


def _by_hand(values: list[float], share: list[float]) -> np.ndarray:
    known = np.array([value for value in values if not math.isnan(value)])
    low, high = known.min(), known.max()
    raw = (known - low) / (high - low)
    log = np.log1p(known - low) / np.log1p(high - low)
    standard = (known - known.mean()) / known.std()
    mixed = share[0] * raw + share[1] * log + share[2] * standard
    return (mixed - mixed.mean()) / mixed.std()


def test_the_mix_of_the_forms_has_mean_0_and_deviation_1_on_the_training_items():
    mixture, x = _mixture([PRICES])
    share = mixture.mix(mixture.embedding).softmax(-1)[0].tolist()
    np.testing.assert_allclose(mixture(x)[:4, 0].detach().numpy(), _by_hand(PRICES, share), atol=1e-4)


def test_a_value_beyond_the_training_range_counts_as_its_edge():
    mixture, _ = _mixture([PRICES])
    beyond = mixture(torch.tensor([[200.0], [9e9], [3.0], [-5.0]]))
    assert torch.equal(beyond[0], beyond[1])
    assert torch.equal(beyond[2], beyond[3])


def test_what_is_not_known_is_0_beside_a_flag_and_spoils_no_gradient():
    mixture, x = _mixture([PRICES, [7.0] * 5])
    out = mixture(x)
    assert out[4].tolist() == [0.0, 0.0, 1.0, 0.0]
    out.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in mixture.parameters())


def test_a_feature_that_is_constant_or_never_known_gives_0():
    mixture, x = _mixture([[7.0, 7.0], [math.nan, math.nan]])
    assert mixture(x)[:, :2].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert torch.isfinite(mixture(torch.tensor([[9.0, 3.0]]))).all()


def test_no_items_or_no_features_still_give_a_module():
    for empty in (torch.empty(0, 2), torch.empty(3, 0)):
        mixture = NumericMixture(FormStatistics.fit(empty))
        assert mixture(empty).shape == (len(empty), 2 * empty.shape[1])
