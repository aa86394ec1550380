"""Where raw logs come from. A source reads one table's raw rows under our column names and judges none of them.

Cleaning, rejecting and deduplicating is the ingest's work, the same for every source.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from etl.contract.dates import DateRange
from etl.contract.errors import UnknownNameError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class ReadRaw(Protocol):
    def __call__(
        self,
        spark: "SparkSession",
        path: str | None,
        table: str,
        renames: Mapping[str, str],
        date_range: DateRange | None = None,
        segments: Sequence[str] = (),
    ) -> "DataFrame":
        """Raw rows of ``table`` (events, items, queries or candidates), lazily.

        ``renames`` maps our column to the raw one; ``segments`` are columns that are found under any spelling too.
        Scalars arrive as strings, except ``ts``, which may stay a timestamp or a number; arrays stay arrays (``items``
        is array<string>); extra raw columns are kept. A line that could not be parsed is a row whose
        ``_corrupt_record`` holds it and whose other columns are null. ``date_range`` only spares work: a source may
        still return rows outside it. Raises InputError.
        """


@dataclass(frozen=True)
class Source:
    name: str
    read: ReadRaw
    needs_input: bool = True
    """False: the source brings its own data and ``path`` may be None."""


def _parquet() -> Source:
    from etl.sources.files import read_parquet

    return Source("parquet", read_parquet)


def _csv() -> Source:
    from etl.sources.files import read_csv

    return Source("csv", read_csv)


def _json() -> Source:
    from etl.sources.files import read_json

    return Source("json", read_json)


def _ubi() -> Source:
    from etl.sources.ubi import read_ubi

    return Source("ubi", read_ubi)


def _complete_journey() -> Source:
    from etl.sources.complete_journey import read_complete_journey

    return Source("complete-journey", read_complete_journey, needs_input=False)


#: Loaded on demand: the names are known without importing Spark.
SOURCES: dict[str, Callable[[], Source]] = {
    "parquet": _parquet,
    "csv": _csv,
    "json": _json,
    "ubi": _ubi,
    "complete-journey": _complete_journey,
}


def get_source(name: str) -> Source:
    """The source of that name; UnknownNameError for any other."""
    if name not in SOURCES:
        raise UnknownNameError("source", name, SOURCES)
    return SOURCES[name]()
