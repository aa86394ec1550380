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
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.windows import TARGET

_PAIR = (TARGET, "query_key", "item_id")
_QUERY = (TARGET, "query_key")
_PRIOR = "__prior"


def with_shares_and_rates(
    pairs: DataFrame, queries: DataFrame, actions: Sequence[str], windows_days: Sequence[int], prior: float
) -> DataFrame:
    """Add ``<action>_share_<w>d`` and ``<action>_rate_<w>d`` to windowed pair counts.

    ``queries`` are the windowed counts of the same days by query and segment. Rows and their number do not change.
    """
    levels = _Levels(tuple(actions), tuple(windows_days), prior)
    everyone = F.col("segment_name") == c.ALL_SEGMENT
    rates = levels.pair_rates(pairs.where(everyone), queries.where(everyone))
    totals = queries.select(TARGET, *c.QUERY_KEY, F.struct(*levels.counts).alias("totals"))
    wide = pairs.join(rates, list(_PAIR), "left").join(totals, [TARGET, *c.QUERY_KEY], "left")
    return wide.select(*pairs.columns, *levels.shares(), *levels.segment_rates(everyone))


@dataclass(frozen=True)
class _Levels:
    """The back-off chain for some actions and windows; a level's rates travel as one array in a fixed order."""

    actions: tuple[str, ...]
    windows_days: tuple[int, ...]
    prior: float

    @property
    def cells(self) -> list[tuple[str, int]]:
        return [(action, days) for action in self.actions for days in self.windows_days]

    @property
    def counts(self) -> list[str]:
        return [c.window_count(action, days) for action, days in self.cells]

    def pair_rates(self, pairs_all: DataFrame, queries_all: DataFrame) -> DataFrame:
        """(target_ds, query_key, item_id) -> the pair's rates, through global, query and query tokens."""
        total = queries_all.groupBy(TARGET).agg(*(F.sum(count).alias(count) for count in self.counts))
        overall = total.select(TARGET, self._overall().alias(_PRIOR))
        of_query = queries_all.join(F.broadcast(overall), TARGET).select(*_QUERY, self._rates().alias(_PRIOR))
        of_tokens = (
            self._token_counts(pairs_all).join(of_query, list(_QUERY)).select(*_PAIR, self._rates().alias(_PRIOR))
        )
        return pairs_all.join(of_tokens, list(_PAIR)).select(*_PAIR, self._rates().alias(_PRIOR))

    def shares(self) -> list[Column]:
        return [
            F.when(F.col(f"totals.{count}") > 0, F.col(count) / F.col(f"totals.{count}"))
            .otherwise(F.lit(0.0))
            .alias(c.window_share(action, days))
            for (action, days), count in zip(self.cells, self.counts, strict=True)
        ]

    def segment_rates(self, everyone: Column) -> list[Column]:
        """A pair's own rate under (all, ''), one more level below it in a segment."""
        return [
            F.when(everyone, F.get(_PRIOR, F.lit(cell))).otherwise(self._rate(cell)).alias(c.window_rate(action, days))
            for cell, (action, days) in enumerate(self.cells)
        ]

    def _token_counts(self, pairs_all: DataFrame) -> DataFrame:
        """Per pair, the counts of its item under any query that shares a word, once per shared word."""
        words = pairs_all.withColumn("token", F.explode(F.array_distinct(F.split("query_key", " "))))
        by_word = words.groupBy(TARGET, "token", "item_id").agg(*(F.sum(count).alias(count) for count in self.counts))
        per_pair = words.select(*_PAIR, "token").join(by_word, [TARGET, "token", "item_id"])
        return per_pair.groupBy(*_PAIR).agg(*(F.sum(count).alias(count) for count in self.counts))

    def _overall(self) -> Column:
        """Unsmoothed rates of everything; 0 without impressions."""
        return F.array(*(self._ratio(action, days) for action, days in self.cells))

    def _ratio(self, action: str, days: int) -> Column:
        shown = self._shown(days)
        return F.when(shown > 0, F.col(c.window_count(action, days)) / shown).otherwise(F.lit(0.0))

    def _rates(self) -> Column:
        return F.array(*(self._rate(cell) for cell in range(len(self.cells))))

    def _rate(self, cell: int) -> Column:
        """One cell of a level, pulled towards the level above it."""
        action, days = self.cells[cell]
        if c.IMPRESSION not in self.actions:
            return F.lit(0.0)
        above = F.get(_PRIOR, F.lit(cell))
        return (F.col(c.window_count(action, days)) + self.prior * above) / (self._shown(days) + self.prior)

    def _shown(self, days: int) -> Column:
        return F.col(c.window_count(c.IMPRESSION, days)) if c.IMPRESSION in self.actions else F.lit(0)
