"""How often actions follow an impression for no better reason than its position, estimated from each day's own log.

At a position with I impressions and A actions the prior is (A + k g) / (I + k), where g is the rate of the whole day
and k = 100 impressions: a position seen rarely is like any other. An action counts at the position of the first
impression of its request and item that day; where there is none, at the one that it carries itself.
"""

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.kernels.daily import MILLION, NO_POSITION, PositionPriors, acted

#: Impressions that the rate of the whole day is worth.
STRENGTH = 100


def position_priors(events: DataFrame, actions: Sequence[str]) -> PositionPriors:
    """The priors of every day and position of ``events``, rounded to whole millionths; {} without impressions."""
    if c.IMPRESSION not in actions:
        return {}
    counts = [F.count_if(F.col("action") == action).alias(action) for action in actions]
    shown_at = F.min(F.when(F.col("action") == c.IMPRESSION, F.col("position")))
    position = F.coalesce(shown_at, F.min("position"), F.lit(NO_POSITION)).cast("int").alias("position")
    shown = events.groupBy("ds", "request_id", "item_id").agg(position, *counts)
    sums = [F.sum(action).alias(action) for action in actions]
    rows = list(shown.groupBy("ds", "position").agg(*sums).toLocalIterator())
    whole: dict[str, dict[str, int]] = {}
    for row in rows:
        day = whole.setdefault(row.ds, dict.fromkeys(actions, 0))
        for action in actions:
            day[action] += row[action]
    return {
        (row.ds, row.position): [
            _millionths(row[action], row[c.IMPRESSION], whole[row.ds][action], whole[row.ds][c.IMPRESSION])
            for action in acted(actions)
        ]
        for row in rows
    }


def _millionths(done: int, shown: int, all_done: int, all_shown: int) -> int:
    """In whole numbers, so that no machine rounds otherwise."""
    if not all_shown:
        return 0
    return (MILLION * (done * all_shown + STRENGTH * all_done)) // (all_shown * (shown + STRENGTH))
