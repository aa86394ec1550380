from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from pyspark.sql import functions as F

from etl.timestamps import parse_timestamp
from tests.etl import reference

LEAP = datetime(2024, 2, 29, 12, 30, 15, 250_000, tzinfo=UTC)
TEXTS = {
    "2024-02-29T12:30:15.250Z": LEAP,
    "2024-02-29 12:30:15.25": LEAP,
    " 2024-02-29T12:30:15.250+00:00 ": LEAP,
    "2024-02-29T14:30:15.250+02:00": LEAP,
    "1709209815.25": LEAP,
    "1709209815250": LEAP,
    "1709209815250000": LEAP,
    "2024-02-29": LEAP.replace(hour=0, minute=0, second=0, microsecond=0),
    "0": datetime(1970, 1, 1, tzinfo=UTC),
    "-1": datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    "99999999999": datetime(5138, 11, 16, 9, 46, 39, tzinfo=UTC),
    "100000000000": datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC),
    "2024-02-29T23:59:59.999999Z": datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC),
    "2023-02-29T12:00:00Z": None,
    "2024-02-29T25:00:00Z": None,
    "2024-13-01": None,
    "12:30:15": None,
    "29/02/2024": None,
    "yesterday": None,
    "now": None,
    "1e9": None,
    "NaN": None,
    "": None,
    None: None,
}


def micros(column):
    return F.unix_micros(column)


@pytest.mark.spark
def test_text_is_an_iso_time_or_an_epoch_by_magnitude(spark):
    frame = spark.createDataFrame(list(enumerate(TEXTS)), "row int, ts string")
    parsed = frame.select("row", micros(parse_timestamp(F.col("ts"), frame.schema["ts"].dataType)).alias("micros"))
    found = {row.row: row.micros for row in parsed.collect()}
    assert found == {n: ts and reference.micros(ts) for n, ts in enumerate(TEXTS.values())}


@pytest.mark.spark
@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("bigint", 1709209815, LEAP.replace(microsecond=0)),
        ("bigint", 1709209815250, LEAP),
        ("int", 1709209815, LEAP.replace(microsecond=0)),
        ("double", 1709209815.25, LEAP),
        ("decimal(20,2)", Decimal("1709209815.25"), LEAP),
        ("double", float("nan"), None),
        ("double", float("inf"), None),
        ("bigint", 10**18, None),
        ("timestamp", LEAP, LEAP),
        ("timestamp_ntz", LEAP.replace(tzinfo=None), LEAP),
        ("date", date(2024, 2, 29), LEAP.replace(hour=0, minute=0, second=0, microsecond=0)),
    ],
)
def test_a_column_of_numbers_times_or_dates_is_taken_as_such(spark, kind, value, expected):
    frame = spark.createDataFrame([(value,)], f"ts {kind}")
    [row] = frame.select(micros(parse_timestamp(F.col("ts"), frame.schema["ts"].dataType)).alias("micros")).collect()
    assert row.micros == (expected and reference.micros(expected))
