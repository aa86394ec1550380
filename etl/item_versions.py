"""Items as a day could know them: each reference to an item is to one of its catalogue versions.

An event or request of day D sees the newest catalogue snapshot not later than D-1-lag_days; an item that no such
snapshot holds stands in the export without text and attributes.
"""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.catalogues import snapshot_days
from etl.contract.dates import DateRange, shift_ds

VERSION = "item_version"
NO_VERSION = ""


def version_of(ds: Column, snapshots: Sequence[str], days: DateRange, lag_days: int) -> Column:
    """The snapshot that each ds of ``days`` sees, '' for none."""
    seen = {day: snapshot_days(snapshots, shift_ds(day, -1 - lag_days)) or NO_VERSION for day in days}
    pairs = F.array(*(F.struct(F.lit(day), F.lit(version)) for day, version in seen.items()))
    return F.coalesce(F.element_at(F.map_from_entries(pairs), ds), F.lit(NO_VERSION))


def described_items(references: DataFrame, items: DataFrame | None, categories: Sequence[str],
                    numerics: Sequence[str], dense: Sequence[str]) -> DataFrame:  # fmt: skip
    """Distinct (item_id, item_version) with the export's columns of an item, each list in the configured order."""
    wanted = references.select("item_id", VERSION).distinct()
    if items is None:
        no_names = F.array().cast("array<string>")
        empty = {
            name: F.map_from_arrays(no_names, F.array().cast(f"array<{kind}>"))
            for name, kind in (("categories", "string"), ("numerics", "double"), ("dense", "array<float>"))
        }
        found = wanted.withColumns({"text": F.lit(""), **empty})
    else:
        found = wanted.join(items.withColumnRenamed("ds", VERSION), ["item_id", VERSION], "left")
    return found.select("item_id", VERSION, *described_columns(categories, numerics, dense))


def described_columns(categories: Sequence[str], numerics: Sequence[str], dense: Sequence[str]) -> list[Column]:
    """An export's ``text, categories, numerics, dense`` from a catalogue's."""
    kinds = [F.coalesce(F.col("categories")[name].cast("string"), F.lit("")) for name in categories]
    numbers = [F.coalesce(F.col("numerics")[name].cast("double"), F.lit(float("nan"))) for name in numerics]
    vectors = [F.col("dense")[name].cast("array<float>") for name in dense]
    return [
        F.coalesce("text", F.lit("")).alias("text"),
        F.array(*kinds).cast("array<string>").alias("categories"),
        F.array(*numbers).cast("array<double>").alias("numerics"),
        (F.concat(*vectors) if vectors else F.array().cast("array<float>")).alias("dense"),
    ]
