"""Timestamps of raw logs: a timestamp, an ISO-8601 string, or epoch seconds / milliseconds by magnitude."""

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

# 1e11 seconds is the year 5138, 1e11 milliseconds is 1973: no log of people's searches lies on the wrong side.
_SECONDS_BELOW = 1e11
_MILLIS_BELOW = 1e14
_MICROS_BELOW = 1e17
_NUMBER = r"^\s*[+-]?[0-9]+(\.[0-9]+)?\s*$"
# Spark reads a bare time as 'today' and a bare year as a date: a day must be there in full.
_HAS_DAY = r"^\s*[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"


def parse_timestamp(ts: Column, kind: T.DataType) -> Column:
    """The instant of a raw ``ts`` column of Spark type ``kind``, null where it is none.

    Times without a zone are UTC (the session's zone).
    """
    if isinstance(kind, T.TimestampType):
        return ts
    if isinstance(kind, T.TimestampNTZType | T.DateType):
        return ts.cast("timestamp")
    if isinstance(kind, T.NumericType):
        return _from_epoch(ts.try_cast("double"))
    text = ts.cast("string")
    return F.when(text.rlike(_NUMBER), _from_epoch(text.try_cast("double"))).when(
        text.rlike(_HAS_DAY), text.try_cast("timestamp")
    )


def _from_epoch(number: Column) -> Column:
    size = F.abs(number)
    micros = (
        F.when(size < _SECONDS_BELOW, number * 1_000_000)
        .when(size < _MILLIS_BELOW, number * 1_000)
        .when(size < _MICROS_BELOW, number)
    )
    return F.timestamp_micros(F.round(micros).try_cast("bigint"))
