"""A recorded, monotone scaling of cross features that differ in size by orders of magnitude.

scaled_j(x) = (log1p(rate_j * max(x, 0)) - mean_j) / std_j

1 / rate_j is the lower quartile of the feature's positive training values, so that shares around 1e-3, rates around
0.05 and counts up to 1e4 all spread over the curved part of the logarithm, whatever their unit; mean and std are those
of the curve on the training rows. A feature that is constant there keeps std 1.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import ExportError


@dataclass(frozen=True)
class CrossScaling:
    """Parameters (C,) by cross feature."""

    names: tuple[str, ...]
    rate: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, cross: npt.NDArray[np.float32], names: Sequence[str]) -> "CrossScaling":
        """Fit on training rows (n, C). ExportError if there are none or a value is negative."""
        if not len(cross):
            raise ExportError("cross features cannot be scaled: the training split has no rows")
        fits = [_fit_one(cross[:, index].astype(np.float64), name) for index, name in enumerate(names)]
        rate, mean, std = zip(*fits, strict=True) if fits else ((), (), ())
        return cls(tuple(names), rate, mean, std)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "CrossScaling":
        return cls(**{key: tuple(values) for key, values in plain.items()})

    def to_plain(self) -> dict[str, Any]:
        return {key: list(values) for key, values in asdict(self).items()}

    def apply(self, cross: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """(n, C) -> (n, C), in double precision."""
        curve = np.log1p(np.maximum(cross, 0.0) * np.array(self.rate))
        scaled: npt.NDArray[np.float64] = (curve - np.array(self.mean)) / np.array(self.std)
        return scaled


def _fit_one(values: npt.NDArray[np.float64], name: str) -> tuple[float, float, float]:
    if values.min() < 0:
        raise ExportError(f"cross feature '{name}' is negative in the training split: counts, shares and rates are not")
    positive = values[values > 0]
    rate = 1.0 / max(float(np.quantile(positive, 0.25)), 1e-12) if len(positive) else 1.0
    curve = np.log1p(values * rate)
    std = float(curve.std())
    return rate, float(curve.mean()), std if std > 1e-6 else 1.0
