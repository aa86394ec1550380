"""Catalogues (items, queries) and candidate sets: raw snapshots to tables, and the snapshot that a day may see."""

from collections.abc import Collection, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.one_per_id import by_id, kept_of
from etl.query_key import with_query_key
from etl.sources.columns import quoted
from etl.sources.errors import InputError

GRAIN = {c.ITEMS: ("item_id",), c.QUERIES: ("query_key",), c.CANDIDATES: ("request_id",)}


def catalogue(raw: DataFrame, table: str, config: EtlConfig, days: DateRange, where: str) -> DataFrame:
    """``items``, ``queries`` or ``candidates`` from raw rows under our column names.

    A raw column ``ds`` says which day a row belongs to; without it the input is the snapshot of the first ds. One row
    per id and ds: the first in the order of its content wins. Raises InputError for a configured column
    that is not there.
    """
    return kept_of(grouped(raw, table, config, days, where))


def grouped(raw: DataFrame, table: str, config: EtlConfig, days: DateRange, where: str) -> DataFrame:
    """The same with what is not kept, for the figures: see ``etl.one_per_id.by_id``."""
    raw = raw.withColumn("ds", F.col("ds").cast("string") if "ds" in raw.columns else F.lit(days.start))
    if table == c.CANDIDATES:
        return by_id(_candidates(raw, config), *GRAIN[table], days, of_all_alike="items")
    return by_id(_described(raw, table, config, where), *GRAIN[table], days)


def snapshot_days(days_held: Sequence[str], until: str) -> str | None:
    """The newest snapshot not later than ``until``."""
    known = [ds for ds in days_held if ds <= until]
    return max(known) if known else None


def _described(raw: DataFrame, table: str, config: EtlConfig, where: str) -> DataFrame:
    settings = config.items
    columns = set(raw.columns)
    arrays = {field.name for field in raw.schema.fields if field.dataType.typeName() == "array"}
    if table == c.ITEMS:
        wanted = {*settings.text, *settings.categories, *settings.numerics, *settings.dense}
        missing = sorted(wanted - columns)
        if missing:
            raise InputError(
                where,
                f"the section 'items' of the configuration names column {', '.join(missing)}; "
                f"found: {', '.join(sorted(columns - {'ds'}))}",
                "name the catalogue's own columns, for example --set items.text=[title,description]",
            )
        identity = [F.col("item_id").cast("string").alias("item_id")]
    else:
        raw = with_query_key(raw)
        identity = [F.col("query_key")]
    texts = [name for name in settings.text if name in columns] or ["query"] * (table == c.QUERIES)
    return raw.select(
        "ds",
        *identity,
        F.concat_ws(" ", *(F.col(quoted(name)).cast("string") for name in texts)).alias("text"),
        _map([n for n in settings.categories if n in columns], "string").alias("categories"),
        _map([n for n in settings.numerics if n in columns], "double").alias("numerics"),
        _map([n for n in settings.dense if n in columns], "array<float>", arrays).alias("dense"),
    )


def _candidates(raw: DataFrame, config: EtlConfig) -> DataFrame:
    """Without a column ``items``, sets are empty: ``prerank candidates`` fills them."""
    present = [name for name in config.events.segments if name in raw.columns]
    items = F.col("items") if "items" in raw.columns else F.array()
    return with_query_key(raw).select(
        "ds",
        F.col("request_id").cast("string").alias("request_id"),
        "query_key",
        F.col("user_id").cast("string").alias("user_id"),
        _map(present, "string").alias("segments"),
        items.cast("array<string>").alias("items"),
    )


def _map(names: list[str], kind: str, arrays: Collection[str] = ()) -> Column:
    """Named columns as a map; unknown values, and vectors with an unknown number, have no entry."""
    if not names:
        return F.map_from_arrays(F.array().cast("array<string>"), F.array().cast(f"array<{kind}>"))
    entries = F.array(*(F.struct(F.lit(n).alias("key"), _parsed(n, kind, n in arrays).alias("value")) for n in names))
    known = F.filter(entries, lambda entry: entry["value"].isNotNull())
    return F.map_from_entries(known)


def _parsed(name: str, kind: str, is_array: bool) -> Column:
    column = F.col(quoted(name))
    if kind == "string":
        text = column.cast("string")
        return F.when(F.trim(text) != "", text)
    # Adding 0 makes 0 of -0: the two have no order, so that neither would be the least.
    if kind.startswith("array"):
        vector = column.try_cast(kind) if is_array else F.from_json(column.cast("string"), kind)
        whole = F.when(F.forall(vector, lambda number: number.isNotNull()), vector)
        return F.transform(whole, lambda number: number + F.lit(0).cast("float"))
    return column.try_cast(kind) + F.lit(0.0)
