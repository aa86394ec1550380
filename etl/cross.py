"""Cross features of a row: its pair's interactions as of D-1-lag_days, overall and under each of its segments."""

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c

AS_OF = "as_of_ds"
HAS_HISTORY = "has_history"


def interaction_features(config: EtlConfig) -> list[str]:
    """The columns of ``interactions`` that become features, in order."""
    actions, settings = config.events.actions, config.interactions
    acted = [action for action in actions if action != c.IMPRESSION]
    families = {
        "cnt": [c.window_count(action, days) for action in actions for days in settings.windows_days],
        "share": [c.window_share(action, days) for action in actions for days in settings.windows_days],
        "rate": [c.window_rate(action, days) for action in acted for days in settings.windows_days],
        "decay": [c.decayed(action, half) for action in actions for half in settings.half_lives_days],
        "users": [c.window_users(days) for days in settings.windows_days],
    }
    return [name for family in config.export.cross_families for name in families[family]]


def cross_names(config: EtlConfig) -> list[str]:
    """Names of all cross features: ``<segment>__<column>``, then whether the pair has any history there."""
    segments = (c.ALL_SEGMENT, *config.events.segments)
    return [f"{segment}__{name}" for segment in segments for name in (*interaction_features(config), HAS_HISTORY)]


def with_cross(rows: DataFrame, interactions: DataFrame, config: EtlConfig) -> DataFrame:
    """Add ``cross``, an array<float> in the order of ``cross_names``; 0 where the pair has no history.

    ``rows`` have query_key, item_id, segments and ``as_of_ds``, the one ds of interactions that they may see. Rows and
    their number do not change: the table holds a pair and segment at most once per ds.
    """
    features = interaction_features(config)
    for segment in (c.ALL_SEGMENT, *config.events.segments):
        rows = _join_segment(rows, interactions, segment, features)
    arrays = [F.col(_column(segment)) for segment in (c.ALL_SEGMENT, *config.events.segments)]
    return rows.withColumn("cross", F.concat(*arrays)).drop(
        *(_column(s) for s in (c.ALL_SEGMENT, *config.events.segments))
    )


def _join_segment(rows: DataFrame, interactions: DataFrame, segment: str, features: Sequence[str]) -> DataFrame:
    known = F.array(*(F.col(name).cast("float") for name in features), F.lit(1.0).cast("float"))
    of_segment = interactions.where(F.col("segment_name") == segment).select(
        F.col("ds").alias(AS_OF), "query_key", "item_id", F.col("segment_value").alias("value"), known.alias("known")
    )
    value = F.lit(c.ALL_VALUE) if segment == c.ALL_SEGMENT else F.col("segments")[segment]
    absent = F.array_repeat(F.lit(0.0).cast("float"), len(features) + 1)
    joined = rows.withColumn("value", value).join(of_segment, [AS_OF, "query_key", "item_id", "value"], "left")
    return joined.withColumn(_column(segment), F.coalesce("known", absent)).drop("known", "value")


def _column(segment: str) -> str:
    return f"__cross_{segment}"
