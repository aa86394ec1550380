"""One aggregation per table: the figures that its suite bounds, per ds."""

from collections.abc import Callable, Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.quality.interactions import profile_of_rows

Profile = list[dict[str, object]]
"""Rows of plain values, one per ds or split."""


def profile(table: str, frame: DataFrame, config: EtlConfig) -> Profile:
    """The profile of some days of a table, ordered by ds; days without rows are absent."""
    if table == c.INTERACTIONS:
        return rows_of_profile(profile_of_rows(frame, config))
    figures = _FIGURES.get(table, _row_count)(config)
    rows = frame.groupBy("ds").agg(F.count(F.lit(1)).alias("rows"), *figures).orderBy("ds")
    return _with_repeats(rows_of_profile(rows))


def rows_of_profile(frame: DataFrame) -> Profile:
    return [row.asDict() for row in frame.toLocalIterator()]


def with_reject_shares(rows: Profile, rejected: Mapping[str, Mapping[str, int]]) -> Profile:
    """Add the share of refused rows to a profile of events; a day with refused rows only counts too.

    ``rejected`` is ds -> reason -> rows; a row's ``reject_share_words`` says which reasons are the most frequent.
    """
    by_ds = {str(row["ds"]): row for row in rows}
    full = []
    for ds in sorted(by_ds.keys() | rejected.keys()):
        row = by_ds.get(ds) or {"ds": ds, "rows": 0}
        reasons = sorted(rejected.get(ds, {}).items(), key=lambda entry: (-entry[1], entry[0]))
        refused, kept = sum(count for _, count in reasons), int(str(row["rows"]))
        words = ", ".join(f"{reason} {count}" for reason, count in reasons)
        full.append({**row, "reject_share": refused / max(1, refused + kept), "reject_share_words": words})
    return full


def _with_repeats(rows: Profile) -> Profile:
    """Distinct counts to numbers of repeats."""
    for row in rows:
        if "distinct_ids" in row:
            row["repeated_ids"] = int(str(row["rows"])) - int(str(row.pop("distinct_ids")))
    return rows


def _event_figures(config: EtlConfig) -> list[Column]:
    missing = F.lit(False)
    for name in ("event_id", "request_id", "user_id", "query_key", "item_id", "action", "ts"):
        missing = missing | F.col(name).isNull()
    return [
        F.count_if(missing).alias("missing_keys"),
        F.countDistinct("event_id").alias("distinct_ids"),
        F.count_if(~F.col("action").isin(*config.events.actions)).alias("unknown_actions"),
        F.count_if(F.date_format("ts", "yyyy-MM-dd") != F.col("ds")).alias("outside_day"),
    ]


def _row_count(config: EtlConfig) -> list[Column]:
    return []


_FIGURES: dict[str, Callable[[EtlConfig], list[Column]]] = {
    c.EVENTS: _event_figures,
}
