"""query_key: the one spelling under which a query's interactions are counted.

NFKC, lower case, control characters and runs of white space to one space, trimmed. Spark has no NFKC: queries that are
pure ASCII stay in Spark expressions, and Python sees each distinct other query once, never each event.
"""

import re
import unicodedata
from collections.abc import Iterable

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

# Python's isspace() and category Cc, as one class: what one space replaces.
_SPACES = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_ASCII_SPACES = "[\\x00-\\x20\\x7f]+"
_NON_ASCII = "[^\\x00-\\x7f]"

_RAW, _KEY = "__query_raw", "__query_key"


def query_key(query: str) -> str:
    """The key of one query; '' when nothing is left of it."""
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", query).lower()).strip()


def with_query_key(frame: DataFrame, query: str = "query", key: str = "query_key") -> DataFrame:
    """Add the column ``key`` for the column ``query`` (null stays null); rows and their number do not change."""
    raw = F.col(query)
    ascii_key = F.trim(F.regexp_replace(F.lower(raw), _ASCII_SPACES, " "))
    foreign = frame.select(raw.alias(_RAW)).where(F.col(_RAW).rlike(_NON_ASCII)).distinct()
    keys = foreign.mapInArrow(_keys_of, f"{_RAW} string, {_KEY} string")
    joined = frame.join(keys, raw == F.col(_RAW), "left")
    return joined.withColumn(key, F.when(raw.rlike(_NON_ASCII), F.col(_KEY)).otherwise(ascii_key)).drop(_RAW, _KEY)


def _keys_of(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    for batch in batches:
        queries = batch.column(0).to_pylist()
        keys = pa.array([query_key(text) for text in queries], pa.string())
        yield pa.RecordBatch.from_arrays([batch.column(0), keys], names=[_RAW, _KEY])
