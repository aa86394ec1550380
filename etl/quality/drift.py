"""How far the features of an export have moved from those of an earlier one, and the gate on that."""

from collections.abc import Mapping
from dataclasses import dataclass

from etl.contract.statistics import FeatureStatistics, psi
from etl.errors import GateError
from etl.quality.statistics import Summary, shares_of
from etl.quality.suites import EXPORT


@dataclass(frozen=True)
class Drift:
    psi: dict[str, float]
    """By feature, of those that both exports have."""
    unmatched: tuple[str, ...]
    """Features that only one of the two has."""


def drift_of(summary: Summary, baseline: Mapping[str, FeatureStatistics]) -> Drift:
    """PSI of every feature over the baseline's own bins."""
    found = {
        name: psi(baseline[name].shares, shares_of(values, baseline[name].edges))
        for name, values in summary.sample.items()
        if name in baseline
    }
    return Drift(found, tuple(sorted(summary.sample.keys() ^ baseline.keys())))


def check_drift(drift: Drift, max_psi: float, where: str) -> None:
    """GateError naming every feature above ``max_psi``, worst first; 0 allows everything.

    ``where`` is the baseline, for the message.
    """
    above = {name: value for name, value in worst_first(drift.psi).items() if value > max_psi > 0}
    if above:
        named = [f"'{name}' drifted: PSI {value:.4g}, export.max_psi is {max_psi:g}" for name, value in above.items()]
        raise GateError(EXPORT, named, f"compared with the training rows of {where}")


def worst_first(values: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(values.items(), key=lambda entry: (-entry[1], entry[0])))
