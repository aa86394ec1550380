"""One aggregation per table: the figures that its suite bounds, per ds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.quality.interactions import profile_of_rows

Profile = list[dict[str, object]]
"""Rows of plain values, one per ds or split."""


@dataclass(frozen=True)
class Undated:
    """Refused rows of an input whose timestamp names no day, and how many rows it has that name one.

    ``reasons`` is reason -> rows, kept under ``ds``. Any day may have lost them: they count against each by its size.
    """

    ds: str
    reasons: Mapping[str, int]
    dated: int

    @property
    def rows(self) -> int:
        return sum(self.reasons.values())


_ALL_DATED = Undated("", {}, 0)


def profile(table: str, frame: DataFrame, config: EtlConfig) -> Profile:
    """The profile of some days of a table, ordered by ds; days without rows are absent."""
    if table == c.INTERACTIONS:
        return rows_of_profile(profile_of_rows(frame, config))
    figures = _FIGURES.get(table, _row_count)(config)
    rows = frame.groupBy("ds").agg(F.count(F.lit(1)).alias("rows"), *figures).orderBy("ds")
    return _with_repeats(rows_of_profile(rows))


def rows_of_profile(frame: DataFrame) -> Profile:
    return [row.asDict() for row in frame.toLocalIterator()]


def with_reject_shares(
    rows: Profile, rejected: Mapping[str, Mapping[str, int]], undated: Undated = _ALL_DATED
) -> Profile:
    """Add the share of refused rows to a profile of events; a day with refused rows only counts too.

    ``rejected`` is ds -> reason -> rows, without those ``undated``; a row's ``reject_share_words`` says which reasons
    are the most frequent.
    """
    by_ds = {str(row["ds"]): row for row in rows}
    full = []
    for ds in sorted(by_ds.keys() | rejected.keys() | ({undated.ds} if undated.rows else set())):
        row = by_ds.get(ds) or {"ds": ds, "rows": 0}
        reasons = rejected.get(ds, {})
        refused, kept = sum(reasons.values()), int(str(row["rows"]))
        words = [_by_number(reasons)] if reasons else []
        words += [f"without a timestamp, of all days: {_by_number(undated.reasons)}"] if undated.rows else []
        share = _share(refused, refused + kept, undated)
        full.append({**row, "reject_share": share, "reject_share_words": "; ".join(words)})
    return full


def _share(refused: int, rows: int, undated: Undated) -> float:
    """With b undated rows to a dated one, (refused + b rows) / (rows + b rows), in whole numbers until the end."""
    if rows == 0:
        return 1.0 if undated.rows else 0.0
    if undated.rows == 0:
        return refused / rows
    return (refused * undated.dated + undated.rows * rows) / (rows * (undated.dated + undated.rows))


def _by_number(reasons: Mapping[str, int]) -> str:
    ordered = sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{reason} {count}" for reason, count in ordered)


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
