"""Which rows that only saw an impression stay: by a hash of their ids, the same in every run and for every layout.

A 64-bit hash of (request_id, item_id, seed), without its lowest 11 bits, lies evenly in [0, 2^53): all whole numbers
there are doubles. A row stays where it is below the threshold, and weighs 2^53 / threshold times more. Both come from
one number, so weights are the exact inverse of the probability: the rate, to the nearest multiple of 2^-53.
"""

from collections.abc import Collection

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.config import ExportConfig

RESOLUTION = 2**53
_SPARE_BITS = 11


def threshold(rate: float) -> int:
    """Of ``RESOLUTION`` hashes, how many stay; 1 at least, so that every row could."""
    return max(1, round(rate * RESOLUTION))


def inverse_probability(rate: float) -> float:
    """What a kept row stands for: 1 for itself and the rest for those that went."""
    return RESOLUTION / threshold(rate)


def pair_hash(request_id: Column | str, item_id: Column | str, seed: int) -> Column:
    """A bigint of a request and an item that depends on nothing else."""
    return F.xxhash64(request_id, item_id, F.lit(seed).cast("bigint"))


def is_drawn(config: ExportConfig) -> Column:
    """Whether the hash of the row's request_id and item_id lies below the threshold."""
    drawn = F.shiftrightunsigned(pair_hash("request_id", "item_id", config.sampling_seed), _SPARE_BITS)
    return drawn < F.lit(threshold(config.impression_sampling_rate))


def sampled(pairs: DataFrame, train_days: Collection[str], config: ExportConfig) -> DataFrame:
    """Thin out the rows of ``train_days`` that have no action but impressions; those that stay weigh for the others.

    ``pairs`` have request_id, item_id, ds, ``acted`` and ``weight``. Other days stay whole, so that metrics
    are of all rows. A request may lose all its rows.
    """
    if config.impression_sampling_rate == 1:
        return pairs
    thinned = F.col("ds").isin(*train_days) & ~F.col("acted")
    heavier = F.col("weight") * F.lit(inverse_probability(config.impression_sampling_rate))
    weight = F.when(thinned, heavier).otherwise(F.col("weight"))
    return pairs.where(~thinned | is_drawn(config)).withColumn("weight", weight)
