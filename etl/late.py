"""Late files: raw rows that join days which are there already, by event_id.

A row that repeats a stored event or a stored refusal to the letter was delivered twice and changes nothing; any other
row competes with the stored ones under the ordinary rules (the earliest of an event_id wins).
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from etl.contract.dates import DateRange
from etl.events import BOT, EVENT_COLUMNS, RAW, REASON, STORED, in_range
from etl.sources.columns import quoted

_MAPS = ("segments",)


def recurring(stored: DataFrame, typed: DataFrame) -> DataFrame:
    """The stored events whose event_id is among those of the typed rows."""
    return stored.join(_ids(typed), "event_id", "left_semi").select(*stored.columns)


def not_delivered_before(typed: DataFrame, recur: DataFrame) -> DataFrame:
    """The typed rows that are not, column for column, stored events; ``recur`` are those with the same ids."""
    known = recur.select(_fingerprint().alias("__fingerprint"))
    marked = typed.withColumn("__fingerprint", F.when(F.col(REASON).isNull(), _fingerprint()))
    return marked.join(known, "__fingerprint", "left_anti").drop("__fingerprint")


def with_stored(typed: DataFrame, stored: DataFrame, recur: DataFrame, days: DateRange) -> DataFrame:
    """``typed`` and the stored events that its rows compete with: those of ``days``, and any of ``recur``."""
    elsewhere = recurring(recur.where(~in_range(days)), typed)
    rivals = stored.where(in_range(days)).unionByName(elsewhere)
    raw_type = typed.schema[RAW].dataType
    as_typed = rivals.withColumn(REASON, F.lit(None).cast("string")).withColumn(STORED, F.lit(True))
    as_typed = as_typed.withColumn(RAW, _raw_of_event(raw_type))
    return typed.unionByName(as_typed.select(*typed.columns))


def known_bots(refused: DataFrame) -> DataFrame:
    """(user_id, ds) whose events were all refused before: what comes late of such a day is a bot's too."""
    return refused.where(F.col(REASON) == BOT).select("user_id", "ds").distinct()


def new_refusals(refused: DataFrame, stored: DataFrame) -> DataFrame:
    """Stored refusals, and those of ``refused`` that are not among them, whatever run refused them."""
    stored = stored.select(*stored.columns)
    common = [name for name in refused.columns if name in stored.columns and name != "run_id"]
    same = F.lit(True)
    for name in common:
        same = same & F.col(f"new.{quoted(name)}").eqNullSafe(F.col(f"old.{quoted(name)}"))
    fresh = refused.alias("new").join(stored.alias("old"), same, "left_anti")
    return stored.unionByName(fresh, allowMissingColumns=True)


def _ids(typed: DataFrame) -> DataFrame:
    return typed.where(F.col(REASON).isNull()).select("event_id")


def _fingerprint() -> Column:
    plain = [F.coalesce(F.col(name).cast("string"), F.lit("\0")) for name in EVENT_COLUMNS if name not in _MAPS]
    maps = [F.to_json(F.array_sort(F.map_entries(name))) for name in _MAPS]
    return F.sha2(F.concat_ws("\x1f", *plain, *maps), 256)


def _raw_of_event(raw_type: T.DataType) -> Column:
    """What is left of the raw row of a stored event, should it be refused now."""
    assert isinstance(raw_type, T.StructType)
    columns = []
    for field in raw_type.fields:
        if field.name in EVENT_COLUMNS and field.name not in _MAPS:
            value = F.col(field.name).cast("string").cast(field.dataType)
        else:
            value = F.element_at("segments", field.name).try_cast(field.dataType)
        columns.append(value.alias(field.name))
    return F.struct(*columns)
