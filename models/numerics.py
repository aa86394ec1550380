"""Numeric features of items: what the training items look like, and the mixture of three forms that a tower reads.

InteractRank's public code (1.2 step 1): a feature enters raw (clipped to the training range), as a logarithm over that
range and standardised, mixed by learned weights pi = softmax(W e), e in R^8; BatchNorm then brings the mix to scale.
Ours: the raw form is in units of its range, since the raw price drowns the other two; and the mean and deviation of the
mix, which is linear in the three forms, are those over all training items, so that no item depends on its batch.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

_FORMS = 3
_EMBEDDING = 8
_LOG_ABOVE_RANGE = 2.0
_LEAST_STD = 1e-6


@dataclass(frozen=True)
class FormStatistics:
    """Of each numeric feature over the items of the training rows, where it is known; 0 .. 0 where it never is."""

    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    log_mean: tuple[float, ...]
    """Of the logarithmic form."""
    log_std: tuple[float, ...]
    correlation: tuple[float, ...]
    """Between the value and its logarithmic form."""

    @classmethod
    def fit(cls, numerics: Tensor) -> "FormStatistics":
        """(N, M), NaN not known."""
        x = numerics.double()
        seen = ~x.isnan()
        known = seen.any(0)
        low = torch.where(known, torch.where(seen, x, torch.inf).amin(0) if len(x) else x.new_zeros(x.shape[1]), 0.0)
        high = torch.where(known, torch.where(seen, x, -torch.inf).amax(0) if len(x) else x.new_zeros(x.shape[1]), 0.0)
        mean, std = _moments(x, seen)
        curve = logarithm(x, low, high)
        log_mean, log_std = _moments(curve, seen)
        product, _ = _moments((x - mean) / std.clamp(min=_LEAST_STD) * (curve - log_mean), seen)
        correlation = product / log_std.clamp(min=_LEAST_STD)
        found = (low, high, mean, std, log_mean, log_std, correlation.clamp(-1, 1))
        return cls(*(tuple(values.tolist()) for values in found))


def _moments(x: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (M,) of what is seen of x (N, M)."""
    count = seen.sum(0).clamp(min=1)
    mean = torch.where(seen, x, 0.0).sum(0) / count
    return mean, (torch.where(seen, x - mean, 0.0).square().sum(0) / count).sqrt()


def logarithm(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Of x (N, M) clipped to low .. high (M,): 0 .. 1 on a log scale, or above low where the range is at most 2."""
    above = x.clamp(low, high) - low
    width = high - low
    return torch.where(width > _LOG_ABOVE_RANGE, above.log1p() / width.log1p().clamp(min=_LEAST_STD), above)


class NumericMixture(nn.Module):
    """(N, M), NaN not known -> (N, 2M): the mixed forms, mean 0 and deviation 1 on training items, and what is unknown.

    A feature that is constant over the training items gives 0.
    """

    minimum: Tensor
    maximum: Tensor
    mean: Tensor
    std: Tensor
    log_mean: Tensor
    log_std: Tensor
    correlation: Tensor

    def __init__(self, statistics: FormStatistics):
        super().__init__()
        for name, values in asdict(statistics).items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))
        self.embedding = nn.Parameter(torch.randn(len(statistics.mean), _EMBEDDING) * 0.1)
        self.mix = nn.Linear(_EMBEDDING, _FORMS, bias=False)
        self.width = 2 * len(statistics.mean)

    def forward(self, x: Tensor) -> Tensor:
        unknown = x.isnan()
        x = torch.where(unknown, self.mean, x)
        share = self.mix(self.embedding).softmax(-1)  # (M, 3)
        width = (self.maximum - self.minimum).clamp(min=_LEAST_STD)
        usable = self.std > _LEAST_STD
        std = torch.where(usable, self.std, 1.0)
        # The raw form is a multiple of the standardised one, but for their means.
        of_value = share[:, 0] * std / width + share[:, 2]
        value = (x.clamp(self.minimum, self.maximum) - self.mean) / std
        curve = logarithm(x, self.minimum, self.maximum) - self.log_mean
        of_curve = share[:, 1] * self.log_std
        variance = of_value.square() + of_curve.square() + 2 * of_value * of_curve * self.correlation
        mixed = (of_value * value + share[:, 1] * curve) / variance.clamp(min=_LEAST_STD**2).sqrt()
        return torch.cat([torch.where(unknown | ~usable, 0.0, mixed), unknown.float()], dim=-1)
