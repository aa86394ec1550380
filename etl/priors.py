"""Where smoothed rates begin: the rate of everything, and how much each action's rate differs from pair to pair.

The strength of the prior is empirical Bayes by moments. Were a pair's rate drawn from a Beta distribution of mean m
and strength k (its two parameters' sum), E[A(A-1)] / E[I(I-1)] over pairs would be its second moment s, and
k = (m - s) / (s - m^2). Both sums are of whole numbers over the days' pairs in the longest window, so that the strength
depends on no order of rows.
"""

from collections.abc import Sequence

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.config import InteractionsConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.kernels.codes import Floats, Ints
from etl.kernels.rates import Priors

#: Strengths, in impressions, that rates are held between, and the one of an action that nothing is known of.
WEAKEST, STRONGEST, UNKNOWN = 1.0, 10_000.0, 20.0


def priors(daily: DataFrame, days: DateRange, actions: Sequence[str], config: InteractionsConfig) -> Priors:
    """The priors of each ds of ``days`` from ``interactions_daily`` rows that cover its windows."""
    sums = _daily_sums(daily, actions)
    rate, strength = {}, {}
    for ds in days:
        windows = [_total(sums, ds, width, len(actions)) for width in sorted(config.windows_days)]
        rate[ds] = np.stack([_rates(window, actions) for window in windows], axis=1)
        fixed = config.rate_prior_impressions
        strength[ds] = _strengths(windows[-1], actions) if fixed is None else np.full(len(actions), fixed)
    return Priors(rate, strength)


def _daily_sums(daily: DataFrame, actions: Sequence[str]) -> dict[str, Ints]:
    """ds -> (A, 2): of each action the sum of n and of n (n - 1) over pairs, as whole numbers."""
    everyone = daily.where(F.col("segment_name") == c.ALL_SEGMENT)
    counts = [F.col(c.count(action)) for action in actions]
    figures = [F.sum(value) for count in counts for value in (count, count * (count - 1))]
    rows = everyone.groupBy("ds").agg(F.array(*figures).alias("sums")).toLocalIterator()
    return {row.ds: np.array(row.sums, dtype=np.int64).reshape(-1, 2) for row in rows}


def _total(sums: dict[str, Ints], ds: str, width: int, actions: int) -> Ints:
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
