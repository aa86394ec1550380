"""Rates of pairs without a row in ``interactions``: what their query's words say of the item.

The same chain as of rows that are there (etl.kernels.rates), cut off above the pair::

    global         A / I over all queries
    query          (A(q)    + k * global) / (I(q)    + k)
    query tokens   (A(t, i) + k * query)  / (I(t, i) + k)   summed over the query's distinct words t

so that a query never seen before still has features from its words (the paper's token boost). Words are counted over
the pairs that the table holds.
"""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.kernels.rates import Priors
from etl.lake import Lake
from etl.priors import daily_moments, priors
from etl.query_windows import AS_OF, query_windows

RATES = "rates"
_PAIR = (AS_OF, "query_key", "item_id")


def rate_cells(config: EtlConfig) -> list[tuple[str, int]]:
    """(action, window) of each rate that is a feature: an impression per impression says nothing."""
    acted = [action for action in config.events.actions if action != c.IMPRESSION]
    return [(action, days) for action in acted for days in config.interactions.windows_days]


@dataclass(frozen=True)
class Backoff:
    """What rates of any pair are found from, as of some days.

    ``interactions`` hold the as-of days, ``queries_daily`` the days of their longest windows, ``priors`` each of them.
    """

    interactions: DataFrame
    queries_daily: DataFrame
    priors: Priors
    config: EtlConfig


def backoff_of(lake: Lake, days: DateRange, config: EtlConfig) -> Backoff:
    """For the as-of days ``days``."""
    reach = days.widen(before=config.interactions.longest_days - 1)
    actions = config.events.actions
    found = priors(daily_moments(lake, reach, actions), days, actions, config.interactions)
    return Backoff(lake.read(c.INTERACTIONS, days), lake.read(c.QUERIES_DAILY, reach), found, config)


def pair_rates(pairs: DataFrame, backoff: Backoff) -> DataFrame:
    """(as_of_ds, query_key, item_id) of distinct ``pairs`` -> ``rates``, array<double> in the order of ``rate_cells``.

    A pair that ``interactions`` hold has its own, any other those of its query's words.
    """
    everyone = backoff.interactions.where(F.col("segment_name") == c.ALL_SEGMENT).withColumnRenamed("ds", AS_OF)
    own = F.array(*(F.col(c.window_rate(action, days)) for action, days in rate_cells(backoff.config)))
    joined = pairs.join(everyone.select(*_PAIR, own.alias(RATES)), list(_PAIR), "left")
    unseen = joined.where(F.col(RATES).isNull()).select(*_PAIR)
    return joined.where(F.col(RATES).isNotNull()).select(*_PAIR, RATES).unionByName(_unseen_rates(unseen, backoff))


def _unseen_rates(pairs: DataFrame, backoff: Backoff) -> DataFrame:
    config = backoff.config
    words = _token_counts(pairs, backoff.interactions, config)
    queries = _query_counts(pairs, backoff.queries_daily, backoff.priors, config)
    known = _priors_frame(pairs, backoff.priors, config)
    full = words.join(queries, [AS_OF, "query_key"], "left").join(F.broadcast(known), AS_OF)
    rates = [_rate(place, cell, config) for place, cell in enumerate(rate_cells(config))]
    return full.select(*_PAIR, F.array(*rates).alias(RATES))


def _token_counts(pairs: DataFrame, interactions: DataFrame, config: EtlConfig) -> DataFrame:
    """Per pair the counts of its item under any query that shares a word, once per shared word."""
    everyone = interactions.where(F.col("segment_name") == c.ALL_SEGMENT).withColumnRenamed("ds", AS_OF)
    asked = pairs.withColumn("token", words())
    seen = everyone.select(AS_OF, "item_id", *count_columns(config), words().alias("token"))
    relevant = seen.join(asked.select(AS_OF, "token", "item_id").distinct(), [AS_OF, "token", "item_id"], "left_semi")
    # A word may stand in very many queries on both sides: added up before the sides meet.
    known = relevant.groupBy(AS_OF, "token", "item_id").agg(
        *(F.sum(name).alias(name) for name in count_columns(config))
    )
    found = asked.join(known, [AS_OF, "token", "item_id"], "left")
    sums = [F.coalesce(F.sum(name), F.lit(0)).alias(f"t_{name}") for name in count_columns(config)]
    return found.groupBy(*_PAIR).agg(*sums)


def _query_counts(pairs: DataFrame, queries_daily: DataFrame, priors: Priors, config: EtlConfig) -> DataFrame:
    """(as_of_ds, query_key) -> counts of the query in each window."""
    asked = pairs.select("query_key").distinct()
    everyone = queries_daily.where(F.col("segment_name") == c.ALL_SEGMENT).join(asked, "query_key", "left_semi")
    counted = query_windows(everyone, DateRange(min(priors.rate), max(priors.rate)), config)
    return counted.select(AS_OF, "query_key", *(F.col(name).alias(f"q_{name}") for name in count_columns(config)))


def _priors_frame(pairs: DataFrame, priors: Priors, config: EtlConfig) -> DataFrame:
    """(as_of_ds) -> ``global`` and ``strength``, arrays in the order of ``rate_cells``."""
    actions, windows = config.events.actions, sorted(config.interactions.windows_days)
    rows = []
    for ds, rate in priors.rate.items():
        places = [(actions.index(action), windows.index(days)) for action, days in rate_cells(config)]
        rows.append((ds, [float(rate[place]) for place in places], [float(priors.strength[ds][a]) for a, _ in places]))
    return pairs.sparkSession.createDataFrame(rows, f"{AS_OF} string, global array<double>, strength array<double>")


def _rate(place: int, cell: tuple[str, int], config: EtlConfig) -> Column:
    if c.IMPRESSION not in config.events.actions:
        return F.lit(0.0)
    rate, strength = F.get("global", F.lit(place)), F.get("strength", F.lit(place))
    for level in ("q_", "t_"):
        names = (level + c.window_count(action, cell[1]) for action in (cell[0], c.IMPRESSION))
        done, shown = (F.coalesce(F.col(name), F.lit(0)) for name in names)
        rate = (done + strength * rate) / (shown + strength)
    return rate


def count_columns(config: EtlConfig) -> list[str]:
    """The windowed counts that rates are found from."""
    windows = config.interactions.windows_days
    return [c.window_count(action, days) for action in config.events.actions for days in windows]


def words() -> Column:
    """Each distinct word of ``query_key``, one per row."""
    return F.explode(F.array_distinct(F.split("query_key", " ")))
