"""The gates by hand: the promises of a table that stands in the lake."""

from collections.abc import Collection

from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.errors import MissingDataError
from etl.events import BAD_TIMESTAMP, REASON
from etl.lake import Lake
from etl.plan import read_history
from etl.quality.gate import gate
from etl.quality.profiles import profile, with_reject_shares


def check_table(lake: Lake, table: str, days: DateRange, config: EtlConfig) -> list[dict[str, object]]:
    """The promises of a table's days, each kept.

    Raises GateError on a broken one, MissingDataError for days without rows none of which was ever written.
    """
    rows = profile(table, lake.read(table, days), config)
    if not rows and not read_history(lake, (table,))[table].keys() & set(days):
        raise MissingDataError(table, days, lake.path(table))
    held = {str(row["ds"]) for row in rows}
    rows = sorted([*rows, *({"ds": ds, "rows": 0} for ds in days if ds not in held)], key=lambda row: str(row["ds"]))
    if table == c.EVENTS and lake.exists(c.EVENTS_REJECTED):
        rows = with_reject_shares(rows, _refused(lake, days, held))
    return gate(table, rows, config)


def _refused(lake: Lake, days: DateRange, held: Collection[str]) -> dict[str, dict[str, int]]:
    """ds -> reason -> refused rows.

    Rows without a timestamp were judged with the whole input of their ingest, and stand under its first day. They
    count here only for a day that holds no event.
    """
    frame = lake.read(c.EVENTS_REJECTED, days)
    undated = F.col(REASON) == BAD_TIMESTAMP
    if "ts" in frame.columns:
        undated = undated | F.col("ts").isNull()
    counted = frame.where(~undated | ~F.col("ds").isin(*held)).groupBy("ds", REASON).count()
    by_ds: dict[str, dict[str, int]] = {}
    for row in counted.toLocalIterator():
        by_ds.setdefault(row.ds, {})[row[REASON]] = row["count"]
    return by_ds
