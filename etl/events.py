"""Raw log rows to events: keys, timestamps, segments, and the one reason why a row is refused.

A row's reason is the first that holds, in the order of REASONS. The first four look at the row alone, ``duplicate`` at
all rows with its event_id, ``bot`` at the user's whole day.
"""

import re
from collections.abc import Collection, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl.config import EventsConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.query_key import with_query_key
from etl.sources.columns import quoted
from etl.timestamps import parse_timestamp

MISSING_KEY = "missing_key"
BAD_TIMESTAMP = "bad_timestamp"
UNKNOWN_ACTION = "unknown_action"
QUERY_TOO_LONG = "query_too_long"
DUPLICATE = "duplicate"
BOT = "bot"
#: No refusal: the row belongs to the run of another day.
OUTSIDE = "outside_range"
REASONS = (MISSING_KEY, BAD_TIMESTAMP, UNKNOWN_ACTION, QUERY_TOO_LONG, DUPLICATE, BOT)

EVENT_COLUMNS = (
    "event_id", "request_id", "ts", "user_id", "query", "query_key", "item_id", "action", "position", "segments", "ds",
)  # fmt: skip

#: Holds the untouched raw row until it is known whether it is refused.
RAW = "raw"
REASON = "reason"
#: Columns that place refused rows: by their reason alone, one task would hold all of a common one.
REJECTED_KEY = (REASON, "request_id", "user_id", "item_id")
#: Whether the row is an event that the lake held before.
STORED = "stored"

_ID_SEPARATOR = "\x1f"
#: What every reader puts in place of bytes that are not UTF-8.
_UNREADABLE = "\ufffd"


def typed_rows(raw: DataFrame, config: EventsConfig, days: DateRange) -> DataFrame:
    """Each raw row as an event, with the raw row in ``raw`` and a row-level ``reason`` or null.

    Rows without a usable timestamp stand under the first ds of the range. Rows outside the range keep their own ds.
    """
    kinds = {field.name: field.dataType for field in raw.schema.fields}
    fields = [F.col(quoted(name)) for name in raw.columns]
    text = {name: F.col(name).cast("string") for name in c.RAW_REQUIRED if name != "ts"}
    position = F.col("position").cast("string").try_cast("double") if "position" in kinds else F.lit(None)
    given_id = F.col("event_id").cast("string") if "event_id" in kinds else F.lit(None)
    typed = raw.select(
        F.struct(*fields).alias(RAW),
        *(column.alias(name) for name, column in text.items()),
        parse_timestamp(F.col("ts"), kinds["ts"]).alias("ts"),
        # No list has a place before its first: such a position is as unknown as one that is no number.
        F.when(position >= 0, position.try_cast("int")).cast("int").alias("position"),
        _segments(config, kinds).alias("segments"),
        given_id.cast("string").alias("event_id"),
    )
    typed = with_query_key(typed)
    own_ds = F.date_format("ts", "yyyy-MM-dd")
    return (
        typed.withColumn("ds", F.coalesce(own_ds, F.lit(days.start)))
        .withColumn("event_id", F.coalesce(_if_given("event_id"), _hashed_id()))
        .withColumn(REASON, _row_reason(config))
        .withColumn(STORED, F.lit(False))
    )


def first_of_each_id(typed: DataFrame, days: DateRange) -> DataFrame:
    """Mark all but the earliest row of an event_id as duplicates, then the rows that are not of ``days`` as outside.

    Earlier days of the same input take part: a day comes out alike whether ingested alone or within a range.
    """
    competes = F.col(REASON).isNull() & (F.col("ds") <= days.end)
    # Rows that do not compete for an id get a key of their own, or they would pile up in one task.
    own_key = F.concat(F.lit("\0"), F.xxhash64("ts", "request_id", "user_id", "item_id", "query"))
    order = Window.partitionBy(F.when(competes, F.col("event_id")).otherwise(own_key)).orderBy(
        "ts", "request_id", "user_id", "query", "item_id", "action", "position", F.map_entries("segments")
    )
    later = competes & (F.row_number().over(order) > 1)
    reason = F.when(~in_range(days), F.lit(OUTSIDE)).when(later, F.lit(DUPLICATE)).otherwise(F.col(REASON))
    # Of rows outside only the number matters from here on.
    raw = F.when(in_range(days), F.col(RAW))
    marked = typed.withColumn("__reason", reason).drop(REASON).withColumnRenamed("__reason", REASON)
    return marked.withColumn(RAW, raw).where(~F.col(STORED) | in_range(days))


def without_bots(rows: DataFrame, config: EventsConfig, known: DataFrame | None = None) -> DataFrame:
    """Mark every remaining event of a user-day above the limit, or among the ``known`` (user_id, ds), as a bot's."""
    limit = config.max_events_per_user_day
    busy = (
        rows.where(F.col(REASON).isNull())
        .groupBy("user_id", "ds")
        .count()
        .where(F.col("count") > limit)
        .select("user_id", "ds")
    )
    busy = (busy if known is None else busy.unionByName(known).distinct()).withColumn("busy", F.lit(True))
    marked = rows.join(F.broadcast(busy), ["user_id", "ds"], "left")
    reason = F.when(F.col(REASON).isNull() & F.col("busy"), F.lit(BOT)).otherwise(F.col(REASON))
    return marked.withColumn(REASON, reason).drop("busy")


def accepted(rows: DataFrame) -> DataFrame:
    return rows.where(F.col(REASON).isNull()).select(*EVENT_COLUMNS)


def rejected(rows: DataFrame, run_id: str) -> DataFrame:
    """Refused rows with their raw columns as text; a raw column named like one of ours is prefixed with raw_."""
    raw_fields = rows.schema[RAW].dataType.fields  # type: ignore[attr-defined]
    names = _delta_names([field.name for field in raw_fields], taken=(REASON, "ds", "run_id"))
    raw_columns = [
        _as_text(F.col(f"{RAW}.{quoted(field.name)}"), field.dataType.typeName()).alias(name)
        for field, name in zip(raw_fields, names, strict=True)
    ]
    refused = rows.where(F.col(REASON).isin(*REASONS))
    return refused.select(*raw_columns, REASON, "ds", F.lit(run_id).alias("run_id"))


def in_range(days: DateRange) -> Column:
    return F.col("ds").between(days.start, days.end)


def _segments(config: EventsConfig, kinds: Collection[str]) -> Column:
    present = [name for name in config.segments if name in kinds]
    if not present:
        return F.map_from_arrays(F.array().cast("array<string>"), F.array().cast("array<string>"))
    entries = F.array(
        *(F.struct(F.lit(name).alias("key"), F.col(name).cast("string").alias("value")) for name in present)
    )
    known = F.filter(entries, lambda entry: entry["value"].isNotNull() & (F.trim(entry["value"]) != ""))
    return F.map_from_entries(known)


def _if_given(name: str) -> Column:
    return F.when(F.trim(name) != "", F.col(name))


def _hashed_id() -> Column:
    parts = ("request_id", "user_id", "item_id", "action")
    text = F.concat_ws(_ID_SEPARATOR, *(F.coalesce(F.col(name), F.lit("")) for name in parts), F.unix_micros("ts"))
    return F.substring(F.sha2(text, 256), 1, 32)


def _row_reason(config: EventsConfig) -> Column:
    keys = ("request_id", "user_id", "query_key", "item_id", "action")
    missing = F.lit(False)
    for name in keys:
        missing = missing | F.col(name).isNull() | (F.trim(name) == "")
    for name in ("request_id", "user_id", "query", "item_id"):
        # Bytes that were no UTF-8 are lost: what is left could be anybody's id.
        missing = missing | F.coalesce(F.contains(F.col(name), F.lit(_UNREADABLE)), F.lit(False))
    return (
        F.when(missing, F.lit(MISSING_KEY))
        .when(F.col("ts").isNull(), F.lit(BAD_TIMESTAMP))
        .when(~F.col("action").isin(*config.actions), F.lit(UNKNOWN_ACTION))
        .when(F.length("query") > config.max_query_chars, F.lit(QUERY_TOO_LONG))
    )


def _as_text(column: Column, kind: str) -> Column:
    return F.to_json(column) if kind in ("array", "map", "struct") else column.cast("string")


def _delta_names(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """Names that Delta takes and SQL needs no quotes for: no two alike but for their case, none of ours."""
    used, safe = {name.lower() for name in taken}, []
    for name in names:
        plain = re.sub(r"\W", "_", name) or "_"
        while plain.lower() in used:
            plain = f"raw_{plain}"
        used.add(plain.lower())
        safe.append(plain)
    return safe
