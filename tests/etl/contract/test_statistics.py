import math

import pytest

from etl.contract.statistics import FLOOR, psi


def test_psi_is_the_sum_over_the_bins():
    expected, actual = (0.5, 0.3, 0.2), (0.4, 0.4, 0.2)
    plain = sum((p - q) * math.log(p / q) for p, q in zip(expected, actual, strict=True))
    assert psi(expected, actual) == pytest.approx(plain)
    assert psi(actual, expected) == pytest.approx(plain)


def test_equal_histograms_have_a_psi_of_zero_with_empty_bins_too():
    assert psi((0.0, 0.7, 0.3), (0.0, 0.7, 0.3)) == 0.0


def test_an_empty_bin_counts_as_the_floor():
    moved = psi((0.0, 1.0), (1.0, 0.0))
    assert moved == pytest.approx(2 * (1 - FLOOR) * math.log(1 / FLOOR))


def test_histograms_of_other_bins_do_not_compare():
    with pytest.raises(ValueError, match="zip"):
        psi((1.0,), (0.5, 0.5))
