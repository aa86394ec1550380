"""How often actions follow an impression for no better reason than its position, estimated from each day's own log.

At a position with I impressions and A actions the prior is (A + k g) / (I + k), where g is the rate of the whole day
and k = 100 impressions: a position seen rarely is like any other. An impression counts at its own position, an unknown
one among them, an action at the foremost impression of its request and item that day; without one, at its own.
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
    shown = F.col("action") == c.IMPRESSION
    own = F.coalesce("position", F.lit(NO_POSITION)).cast("int").alias("position")
    impressions = events.where(shown).groupBy("ds", own).agg(F.count(F.lit(1)).alias(c.IMPRESSION))
    counts = [F.count_if(F.col("action") == action).alias(action) for action in acted(actions)]
    place = F.coalesce(F.min(F.when(shown, own)), F.min(own)).alias("position")
    following = events.groupBy("ds", "request_id", "item_id").agg(place, *counts)
    sums = [F.sum(action).alias(action) for action in acted(actions)]
    both = impressions.join(following.groupBy("ds", "position").agg(*sums), ["ds", "position"], "full")
    rows = list(both.fillna(0).toLocalIterator())
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
