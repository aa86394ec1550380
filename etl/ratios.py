"""Shares and smoothed rates of windowed counts.

Share (the paper's item-query performance): C(q, i) / C(q) over the same action, window and segment; 0 where C(q) is 0.

Rate: actions per impression, each level pulled towards the next coarser one as if it had seen ``prior`` impressions of
it, so that a thin level says what its parent says::

    global         A / I over all queries
    query          (A(q)      + prior * global) / (I(q)      + prior)
    query tokens   (A(t, i)   + prior * query)  / (I(t, i)   + prior)   summed over the query's distinct words t
    pair           (A(q, i)   + prior * tokens) / (I(q, i)   + prior)
    segment        (A(q, i|s) + prior * pair)   / (I(q, i|s) + prior)

The rate of a row under (all, '') is its pair's, that of another segment its segment's. All sums are whole numbers, so a
rate does not depend on the order of rows. Without an action called ``impression`` every rate is 0.
"""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.windows import TARGET

_PAIR = (TARGET, "query_key", "item_id")


def with_shares_and_rates(
    pairs: DataFrame, queries: DataFrame, actions: Sequence[str], windows_days: Sequence[int], prior: float
) -> DataFrame:
    """Add ``<action>_share_<w>d`` and ``<action>_rate_<w>d`` to windowed pair counts.

    ``queries`` are the windowed counts of the same days by query and segment. Rows and their number do not change.
    """
    counts = [c.window_count(action, days) for action in actions for days in windows_days]
    everyone = F.col("segment_name") == c.ALL_SEGMENT
    query_all = queries.where(everyone)
    levels = (
        _level(queries, "query_in_segment", (TARGET, *c.QUERY_KEY), counts),
        _level(query_all, "query", (TARGET, "query_key"), counts),
        _level(pairs.where(everyone), "pair", _PAIR, counts),
        _token_level(pairs.where(everyone), counts),
    )
    wide = pairs
    for level, key in zip(levels, ((TARGET, *c.QUERY_KEY), (TARGET, "query_key"), _PAIR, _PAIR), strict=True):
        wide = wide.join(level, list(key), "left")
    wide = wide.join(F.broadcast(_global_level(query_all, counts)), [TARGET], "left")
    return wide.select(
        *pairs.columns,
        *(_share(action, days) for action in actions for days in windows_days),
        *(_rate(action, days, actions, prior) for action in actions for days in windows_days),
    )


def _level(frame: DataFrame, name: str, key: Sequence[str], counts: Sequence[str]) -> DataFrame:
    return frame.select(*key, F.struct(*counts).alias(name))


def _global_level(query_all: DataFrame, counts: Sequence[str]) -> DataFrame:
    total = query_all.groupBy(TARGET).agg(*(F.sum(count).alias(count) for count in counts))
    return _level(total, "global", (TARGET,), counts)


def _token_level(pairs_all: DataFrame, counts: Sequence[str]) -> DataFrame:
    """Per pair, the counts of its item under any query that shares a word, once per shared word."""
    words = pairs_all.withColumn("token", F.explode(F.array_distinct(F.split("query_key", " "))))
    by_word = words.groupBy(TARGET, "token", "item_id").agg(*(F.sum(count).alias(count) for count in counts))
    per_pair = words.select(*_PAIR, "token").join(by_word, [TARGET, "token", "item_id"])
    summed = per_pair.groupBy(*_PAIR).agg(*(F.sum(count).alias(count) for count in counts))
    return _level(summed, "tokens", _PAIR, counts)


def _share(action: str, days: int) -> Column:
    count = c.window_count(action, days)
    whole = F.col(f"query_in_segment.{count}")
    share = F.when(whole > 0, F.col(count) / whole).otherwise(F.lit(0.0))
    return share.alias(c.window_share(action, days))


def _rate(action: str, days: int, actions: Sequence[str], prior: float) -> Column:
    name = c.window_rate(action, days)
    if c.IMPRESSION not in actions:
        return F.lit(0.0).alias(name)
    done, shown = c.window_count(action, days), c.window_count(c.IMPRESSION, days)
    all_shown = F.col(f"global.{shown}")
    rate = F.when(all_shown > 0, F.col(f"global.{done}") / all_shown).otherwise(F.lit(0.0))
    for level in ("query", "tokens", "pair"):
        rate = (F.col(f"{level}.{done}") + prior * rate) / (F.col(f"{level}.{shown}") + prior)
    in_segment = (F.col(done) + prior * rate) / (F.col(shown) + prior)
    return F.when(F.col("segment_name") == c.ALL_SEGMENT, rate).otherwise(in_segment).alias(name)
