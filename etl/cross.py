"""Cross features of a row: its pair's interactions as of D-1-lag_days, overall and under each of its segments."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.backoff import RATES, Backoff, pair_rates, rate_cells
from etl.config import EtlConfig
from etl.contract import columns as c
from etl.query_windows import AS_OF
from etl.windows import family_columns


def interaction_features(config: EtlConfig) -> list[str]:
    """The columns of ``interactions`` that become features, in order."""
    names = {family: family_columns(family, config) for family in config.export.cross_families}
    if "rate" in names:
        names["rate"] = [c.window_rate(action, days) for action, days in rate_cells(config)]
    return [name for family in names.values() for name in family]


def cross_names(config: EtlConfig) -> list[str]:
    """Names of all cross features: ``<segment>__<column>``, then whether the pair has any history there."""
    segments = (c.ALL_SEGMENT, *config.events.segments)
    return [f"{segment}__{name}" for segment in segments for name in (*interaction_features(config), c.HAS_HISTORY)]


def with_cross(rows: DataFrame, interactions: DataFrame, config: EtlConfig, backoff: Backoff | None) -> DataFrame:
    """Add ``cross``, an array<float> in the order of ``cross_names``.

    ``rows`` have query_key, item_id, segments and ``as_of_ds``, the one ds of interactions that they may see. Rows and
    their number do not change: the table holds a pair and segment at most once per ds. Where it holds none, features
    are 0, but for rates, which back off (see etl.backoff); ``backoff`` is None where no rate is a feature.
    """
    features = interaction_features(config)
    segments = (c.ALL_SEGMENT, *config.events.segments)
    for segment in segments:
        rows = _join_segment(rows, interactions, segment, features)
    rows = _with_rates(rows, backoff)
    absent = _absent(features, config)
    arrays = [F.coalesce(F.col(_column(segment)), absent) for segment in segments]
    return rows.withColumn("cross", F.concat(*arrays)).drop(*map(_column, segments), RATES)


def needs_backoff(config: EtlConfig) -> bool:
    return "rate" in config.export.cross_families


def _with_rates(rows: DataFrame, backoff: Backoff | None) -> DataFrame:
    if backoff is None:
        return rows.withColumn(RATES, F.lit(None).cast("array<double>"))
    pair = [AS_OF, "query_key", "item_id"]
    return rows.join(pair_rates(rows.select(*pair).distinct(), backoff), pair, "left")


def _absent(features: Sequence[str], config: EtlConfig) -> Column:
    """The features of a pair that has no row: its rates, everything else 0, and no history."""
    places = {name: place for place, name in enumerate(c.window_rate(*cell) for cell in rate_cells(config))}
    zero = F.lit(0.0).cast("float")
    values = [F.get(RATES, F.lit(places[name])).cast("float") if name in places else zero for name in features]
    return F.array(*(F.coalesce(value, zero) for value in values), zero)


def _join_segment(rows: DataFrame, interactions: DataFrame, segment: str, features: Sequence[str]) -> DataFrame:
    known = F.array(*(F.col(name).cast("float") for name in features), F.lit(1.0).cast("float"))
    of_segment = interactions.where(F.col("segment_name") == segment).select(
        F.col("ds").alias(AS_OF), "query_key", "item_id", F.col("segment_value").alias("value"),
        known.alias(_column(segment)),
    )  # fmt: skip
    value = F.lit(c.ALL_VALUE) if segment == c.ALL_SEGMENT else F.col("segments")[segment]
    return (
        rows.withColumn("value", value).join(of_segment, [AS_OF, "query_key", "item_id", "value"], "left").drop("value")
    )


def _column(segment: str) -> str:
    return f"__cross_{segment}"
