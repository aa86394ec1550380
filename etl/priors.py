"""Where smoothed rates begin: the rate of everything, and how much each action's rate differs from pair to pair.

The strength of the prior is empirical Bayes by moments. Were a pair's rate drawn from a Beta distribution of mean m
and strength k (its two parameters' sum), E[A(A-1)] / E[I(I-1)] over pairs would be its second moment s, and
k = (m - s) / (s - m^2). Both sums are of whole numbers over the days' pairs in the longest window, so that the strength
depends on no order of rows. They were made when the day was (etl.partials): no pair of a window is read again.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from pyspark.sql import functions as F

from etl.config import InteractionsConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.kernels.codes import Floats, Ints
from etl.kernels.rates import Priors
from etl.lake import Lake
from etl.parts import MOMENTS
from etl.tiles import table_of

#: Strengths, in impressions, that rates are held between, and the one of an action that nothing is known of.
WEAKEST, STRONGEST, UNKNOWN = 1.0, 10_000.0, 20.0

Moments: TypeAlias = Mapping[str, Ints]
"""ds -> (A, 2): of each action the sum of n and of n (n - 1) over the day's pairs, as whole numbers."""


def daily_moments(lake: Lake, days: DateRange, actions: Sequence[str]) -> Moments:
    """Of those of ``days`` that have partials; MissingDataError where no day ever had."""
    names = sorted(actions)
    sums = F.array(*(F.sum(F.get(MOMENTS, F.lit(place))) for place in range(2 * len(names)))).alias(MOMENTS)
    by_name = [names.index(action) for action in actions]
    rows = lake.read(table_of(1), days).groupBy("ds").agg(sums).toLocalIterator()
    return {row.ds: np.array(row[MOMENTS], dtype=np.int64).reshape(-1, 2)[by_name] for row in rows}


def priors(sums: Moments, days: DateRange, actions: Sequence[str], config: InteractionsConfig) -> Priors:
    """The priors of each ds of ``days`` from the moments of the days of its windows; a day without any adds nothing."""
    rate, strength = {}, {}
    for ds in days:
        windows = [_total(sums, ds, width, len(actions)) for width in sorted(config.windows_days)]
        rate[ds] = np.stack([_rates(window, actions) for window in windows], axis=1)
        fixed = config.rate_prior_impressions
        strength[ds] = _strengths(windows[-1], actions) if fixed is None else np.full(len(actions), fixed)
    return Priors(rate, strength)


def _total(sums: Moments, ds: str, width: int, actions: int) -> Ints:
    days = DateRange(shift_ds(ds, 1 - width), ds)
    return sum((sums[day] for day in days if day in sums), start=np.zeros((actions, 2), dtype=np.int64))


def _rates(window: Ints, actions: Sequence[str]) -> Floats:
    """(A,) unsmoothed rates; 0 without impressions."""
    shown = window[actions.index(c.IMPRESSION), 0] if c.IMPRESSION in actions else 0
    return window[:, 0] / shown if shown else np.zeros(len(actions))


def _strengths(window: Ints, actions: Sequence[str]) -> Floats:
    """(A,) impressions that a parent's rate is worth."""
    shown = window[actions.index(c.IMPRESSION)] if c.IMPRESSION in actions else np.zeros(2)
    strengths = np.full(len(actions), UNKNOWN)
    for place, (count, twice) in enumerate(window):
        if shown[1] and count:
            mean, second = count / shown[0], twice / shown[1]
            spread = second - mean**2
            strengths[place] = (mean - second) / spread if spread > 0 else STRONGEST
    return np.clip(strengths, WEAKEST, STRONGEST)
