"""Daily partials to windows: every count, decay and distinct-user figure of every asked ds in one pass.

Decays are summed as whole numbers: a day's weight 0.5^(age / half-life) is rounded once to a fixed number of binary
places, so that the sum does not depend on the order in which Spark meets the rows, and a rebuilt day is identical.
"""

import math
import operator
from collections.abc import Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.config import InteractionsConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, parse_ds
from etl.users import users_by_window

TARGET = "target_ds"
AGE = "age_days"
_EPOCH = date(1970, 1, 1).toordinal()

# Binary places left for the smallest weight of a block: half of 2^-31 of it is under the promised 1e-9.
_WEIGHT_BITS = 31
# Half-lives that one block of ages spans; 31 + 10 bits of weight leave 22 for a day's count.
_BLOCK_HALF_LIVES = 10


def at_each_ds(daily: DataFrame, days: DateRange, longest_days: int) -> DataFrame:
    """Pair every daily row with every asked ds whose longest window covers it: adds ``target_ds`` and ``age_days``.

    ``target_ds`` is a day number (days since 1970) for as long as rows are grouped by it; see ``ds_of``.
    """
    day = F.unix_date(F.to_date("ds"))
    first, last = (parse_ds(ds).toordinal() - _EPOCH for ds in (days.start, days.end))
    targets = F.sequence(F.greatest(day, F.lit(first)), F.least(day + F.lit(longest_days - 1), F.lit(last)))
    covered = daily.where((day <= last) & (day > first - longest_days))
    exploded = covered.withColumn(TARGET, F.explode(targets))
    return exploded.withColumn(AGE, F.col(TARGET) - day)


def ds_of(target: str = TARGET) -> Column:
    """The ds of a day number."""
    return F.date_format(F.date_from_unix_date(target), "yyyy-MM-dd")


def pair_windows(aged: DataFrame, actions: Sequence[str], config: InteractionsConfig) -> DataFrame:
    """(target_ds, pair, segment) -> counts per window, decays over the longest window, distinct users per window."""
    decays = [
        decayed_sum(c.count(action), half_life, config.longest_days).alias(c.decayed(action, half_life))
        for action in actions
        for half_life in config.half_lives_days
    ]
    key = (TARGET, *c.PAIR_KEY)
    counts = aged.groupBy(*key).agg(*window_counts(actions, config.windows_days), *decays)
    return counts.join(users_by_window(aged, key, AGE, config.windows_days), list(key))


def query_windows(aged: DataFrame, actions: Sequence[str], config: InteractionsConfig) -> DataFrame:
    """(target_ds, query, segment) -> counts per window: the denominators of shares."""
    return aged.groupBy(TARGET, *c.QUERY_KEY).agg(*window_counts(actions, config.windows_days))


def window_counts(actions: Sequence[str], windows_days: Sequence[int]) -> list[Column]:
    """Sums of daily counts; a window of w days holds the ages 0 to w-1."""
    return [
        F.coalesce(F.sum(_within(F.col(c.count(action)), days)), F.lit(0)).alias(c.window_count(action, days))
        for action in actions
        for days in windows_days
    ]


def decayed_sum(count: str, half_life_days: int, longest_days: int) -> Column:
    """Sum of count * 0.5^(age_days / half_life_days), within 1e-9 of the exact value, in any order of rows.

    Ages are cut into blocks of 10 half-lives, each a whole-number sum with a scale of its own, so that old counts keep
    their precision; the few blocks are then added in a fixed order.
    """
    span = _BLOCK_HALF_LIVES * half_life_days
    blocks = [
        _block_sum(count, half_life_days, range(first, min(first + span, longest_days)))
        for first in range(0, longest_days, span)
    ]
    return reduce(operator.add, blocks)


def _block_sum(count: str, half_life_days: int, ages: range) -> Column:
    # A whole number of places: ages that are multiples of the half-life weigh exactly 1, 1/2, 1/4 and so on.
    bits = _WEIGHT_BITS + math.ceil(ages[-1] / half_life_days)
    weights = F.array(*(F.lit(round(2.0 ** (bits - age / half_life_days))).cast("bigint") for age in ages))
    age = F.col(AGE)
    weight = F.when(age.between(ages[0], ages[-1]), F.get(weights, age - ages[0])).otherwise(F.lit(0).cast("bigint"))
    total = F.sum(F.coalesce(F.col(count), F.lit(0)) * weight)
    return total.cast("double") * F.lit(2.0**-bits)


def _within(value: Column, days: int) -> Column:
    return F.when(F.col(AGE) < days, value)
