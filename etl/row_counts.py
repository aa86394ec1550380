"""How many rows an export has to have: counted from the same sources, but apart from the joins that make the rows."""

from collections.abc import Collection

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.config import CANDIDATES, CATALOGUE, EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.item_versions import VERSION, version_of
from etl.lake import Lake
from etl.negatives import as_of, catalogue_draws, catalogue_places, known_items, own_items
from etl.query_windows import AS_OF
from etl.sampling import is_drawn


def expected_rows(
    counted: DataFrame, begun: DataFrame, lake: Lake, config: EtlConfig, days: DateRange, train_days: Collection[str]
) -> int:
    """Rows of ``begun`` after sampling, drawn negatives included. ``counted`` are its events (see etl.maturity)."""
    total = observed_rows(counted, config, train_days)
    if config.export.negatives == CANDIDATES:
        known = known_items(lake.read(c.INTERACTIONS, days.shift(-1 - config.interactions.lag_days)))
        asked = begun.select("request_id", "query_key", as_of(config.interactions.lag_days).alias(AS_OF))
        total += candidate_rows(counted, asked, known, config)
    if config.export.negatives == CATALOGUE:
        lag, snapshots = config.interactions.lag_days, lake.days_of(c.ITEMS)
        asked = begun.select("request_id", version_of(F.col("ds"), snapshots, days, lag).alias(VERSION))
        total += catalogue_rows(counted, asked, catalogue_places(lake, snapshots, days, lag), config)
    return total


def observed_rows(counted: DataFrame, config: EtlConfig, train_days: Collection[str]) -> int:
    """A pair stays if its day is held out, if its hash says so, or if one of its events is an action."""
    held_out = ~F.col("ds").isin(*train_days)
    stays = held_out | is_drawn(config.export) | (F.col("action") != c.IMPRESSION)
    return counted.where(stays).select("request_id", "item_id").distinct().count()


def candidate_rows(counted: DataFrame, asked: DataFrame, known: DataFrame, config: EtlConfig) -> int:
    """Per request of ``asked``: what its query knew less what it held itself, at most the number asked for."""
    sizes = known.groupBy(AS_OF, "query_key").agg(F.count(F.lit(1)).alias("known"))
    pairs = counted.select("request_id", "item_id").distinct().join(asked, "request_id")
    held = pairs.join(known, [AS_OF, "query_key", "item_id"], "left_semi").groupBy("request_id").count()
    others = asked.join(sizes, [AS_OF, "query_key"]).join(held, "request_id", "left")
    return _total(others, F.col("known") - F.coalesce("count", F.lit(0)), config)


def catalogue_rows(counted: DataFrame, asked: DataFrame, placed: DataFrame, config: EtlConfig) -> int:
    """Per request of ``asked``: its distinct draws less the places of its own items, at most the number asked for."""
    pairs = counted.select("request_id", "item_id").distinct().join(asked, "request_id")
    held = pairs.join(placed, [VERSION, "item_id"]).groupBy("request_id").agg(F.collect_set("place").alias("held"))
    draws = catalogue_draws(asked.join(own_items(counted), "request_id"), placed, config.export)
    found = draws.join(held, "request_id", "left")
    nothing = F.array().cast("array<bigint>")
    return _total(found, F.size(F.array_except("draws", F.coalesce("held", nothing))), config)


def _total(requests: DataFrame, available: Column, config: EtlConfig) -> int:
    taken = F.least(available.cast("bigint"), F.lit(config.export.negatives_per_request).cast("bigint"))
    [row] = requests.agg(F.sum(taken).alias("total")).toLocalIterator()
    return int(row.total or 0)
