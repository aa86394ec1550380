"""Raw logs in Parquet, CSV and JSON files, any mix of files in a folder or behind a glob.

Every file is looked at before Spark reads it: the header of a CSV (files of one folder may differ in their columns
and in their order), the first characters of a JSON (one object a line, or one array over many lines), the end of a
Parquet file. What can be refused is refused here, with the file's name, instead of hours later in a task.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from etl.contract.dates import DateRange
from etl.sources.columns import CORRUPT, quoted, required_columns, to_raw
from etl.sources.errors import InputError
from etl.sources.listing import (
    JVM_ERRORS,
    Listing,
    first_line,
    head,
    list_files,
    literal,
    partition_values_as_text,
    tail,
)
from etl.spark_errors import last_cause, said_by, unreadable_file

_PARQUET_MAGIC = b"PAR1"
_WRITE_AGAIN = "write it again, or remove it if it is a leftover; the tables are as they were"


def read_parquet(
    spark: SparkSession,
    path: str | None,
    table: str,
    renames: Mapping[str, str],
    date_range: DateRange | None = None,
    segments: Sequence[str] = (),
) -> DataFrame:
    """Parquet files, their schemas merged: a column that only newer files have is null in the older ones."""
    required_columns(table)
    listing = list_files(spark, path)
    if listing.empty:
        raise InputError(listing.empty[0], "is empty (0 bytes), which no Parquet file is", _WRITE_AGAIN)
    try:
        with partition_values_as_text(spark):
            reader = spark.read.option("mergeSchema", "true").option("basePath", listing.base)
            df = reader.parquet(*[literal(file) for file in listing.files])
    except JVM_ERRORS as error:
        raise _parquet_error(spark, listing, error) from error
    _require_whole_parquet(spark, listing.files)
    return to_raw(df, table, renames, str(path), segments)


def read_csv(
    spark: SparkSession,
    path: str | None,
    table: str,
    renames: Mapping[str, str],
    date_range: DateRange | None = None,
    segments: Sequence[str] = (),
) -> DataFrame:
    """CSV files with a header; quotes may span lines and are escaped by doubling. An empty field is null.

    Because quotes may span lines, one file is one task: many files read in parallel, one huge file does not.
    """
    required_columns(table)
    listing = list_files(spark, path)
    groups: dict[tuple[str, ...], list[str]] = {}
    for file in listing.files:
        groups.setdefault(_csv_header(spark, file), []).append(file)
    parts = []
    for columns, files in groups.items():
        schema = T.StructType([T.StructField(name, T.StringType()) for name in (*columns, CORRUPT)])
        # Without pruning every line is parsed whole, so a count sees the same lines as a full read.
        reader = _reader(spark, listing).options(
            header=True, multiLine=True, quote='"', escape='"', columnPruning=False, lineSep="\n"
        )
        part = _load(reader.schema(schema), "csv", files, str(path), spark)
        parts.append(_without_carriage_returns(part, columns[-1]))
    return to_raw(mask_corrupt(union(parts)), table, renames, str(path), segments)


def read_json(
    spark: SparkSession,
    path: str | None,
    table: str,
    renames: Mapping[str, str],
    date_range: DateRange | None = None,
    segments: Sequence[str] = (),
) -> DataFrame:
    """JSON files: an object a line, an array a line, or one array over many lines. Numbers keep their spelling."""
    required_columns(table)
    listing = list_files(spark, path)
    df = load_json(spark, listing, str(path), {})
    return to_raw(mask_corrupt(df), table, renames, str(path), segments)


def load_json(spark: SparkSession, listing: Listing, where: str, types: Mapping[str, T.DataType]) -> DataFrame:
    """All documents of the files, scalars as strings, with ``_corrupt_record``.

    ``types`` are columns to have in any case, of these types.
    """
    whole_files = [file for file in listing.files if _is_one_document(head(spark, file))]
    line_files = [file for file in listing.files if file not in set(whole_files)]
    parts = []
    for files, multi_line in ((line_files, False), (whole_files, True)):
        if not files:
            continue
        reader = _reader(spark, listing).options(primitivesAsString=True, multiLine=multi_line)
        inferred = _load(reader, "json", files, where, spark).schema
        known = {name.lower() for name in types} | {CORRUPT}
        fields = [field for field in inferred.fields if field.name.lower() not in known]
        fields += [T.StructField(name, kind) for name, kind in types.items()]
        schema = T.StructType([*fields, T.StructField(CORRUPT, T.StringType())])
        parts.append(_load(reader.schema(schema), "json", files, where, spark))
    return union(parts)


def mask_corrupt(df: DataFrame) -> DataFrame:
    """Null in every other column where ``_corrupt_record`` is set: half a line is not evidence."""
    others = [name for name in df.columns if name != CORRUPT]
    if not others:
        return df
    corrupt = F.col(CORRUPT)
    # Spark refuses to read a file for this column alone, so it must look as if it needed another one.
    kept = F.when(corrupt.isNotNull() | F.col(quoted(others[0])).isNull(), corrupt)
    masked = [F.when(corrupt.isNull(), F.col(quoted(name))).alias(name) for name in others]
    return df.select(*masked, kept.alias(CORRUPT))


def union(parts: Sequence[DataFrame]) -> DataFrame:
    """The rows of all parts; a column that one lacks is null there."""
    return reduce(lambda left, right: left.unionByName(right, allowMissingColumns=True), parts)


def _reader(spark: SparkSession, listing: Listing) -> DataFrameReader:
    return spark.read.options(mode="PERMISSIVE", columnNameOfCorruptRecord=CORRUPT, basePath=listing.base)


def _load(reader: DataFrameReader, kind: str, files: Iterable[str], where: str, spark: SparkSession) -> DataFrame:
    try:
        with partition_values_as_text(spark):
            return reader.format(kind).load([literal(file) for file in files])
    except JVM_ERRORS as error:
        if named := unreadable_file(said_by(error)):
            raise InputError(*named, _WRITE_AGAIN) from error
        raise InputError(where, f"Spark cannot read it as {kind} ({first_line(error)})", "check --source") from error


def _without_carriage_returns(df: DataFrame, last: str) -> DataFrame:
    """Lines may end with CR LF, all of them or some; one that is nothing else is no row.

    Left to find out by itself, Spark takes the first line's end for that of all, and glues lines that end otherwise.
    """
    ended = F.regexp_replace(F.col(quoted(last)), r"\r\z", "")
    corrupt = F.regexp_replace(CORRUPT, r"\r\z", "")
    names = {last: F.when(ended != "", ended), CORRUPT: corrupt}
    trimmed = [names.get(name, F.col(quoted(name))).alias(name) for name in df.columns]
    # Two columns in it, as Spark refuses to read a file for the corrupt ones alone: to count them, say.
    something = F.coalesce(F.col(CORRUPT), F.concat(F.col(quoted(last)), F.lit("+")), F.lit("+"))
    return df.select(*trimmed).where(something != "")


def _csv_header(spark: SparkSession, file: str) -> tuple[str, ...]:
    rows = csv.reader(io.StringIO(head(spark, file)))
    try:
        header = next((row for row in rows if row), None)
    except csv.Error as error:
        raise InputError(
            file, f"its header line cannot be read ({error})", "end lines with LF or CR LF, and close every quote"
        ) from error
    if header is None:
        raise InputError(file, "has no header line", "the first line of a CSV file names its columns")
    names = [name.strip() or f"_c{index}" for index, name in enumerate(header)]
    repeated = sorted({name for name in names if [other.lower() for other in names].count(name.lower()) > 1})
    if repeated:
        raise InputError(file, f"its header repeats {', '.join(repeated)}", "give every column its own name")
    return tuple(names)


def _is_one_document(start: str) -> bool:
    """Is the file one JSON array over many lines? (An array on one line is read as a line.)"""
    text = start.lstrip()
    if not text.startswith("["):
        return False
    line, newline, _ = text.partition("\n")
    if not newline:
        return False
    try:
        json.loads(line)
    except json.JSONDecodeError:
        return True
    return False


def _require_whole_parquet(spark: SparkSession, files: Iterable[str]) -> None:
    for file in files:
        if tail(spark, file, len(_PARQUET_MAGIC)) != _PARQUET_MAGIC:
            raise InputError(
                file,
                "is not a whole Parquet file: the footer is missing",
                _WRITE_AGAIN,
            )


def _parquet_error(spark: SparkSession, listing: Listing, error: Exception) -> InputError:
    try:
        _require_whole_parquet(spark, listing.files)
    except InputError as truncated:
        return truncated
    if "TIMESTAMP(NANOS" in str(error):
        return InputError(
            listing.base,
            f"holds timestamps in nanoseconds, which Spark does not read ({first_line(error)})",
            "write them in microseconds, with pandas: to_parquet(path, coerce_timestamps='us')",
        )
    return InputError(
        _first_unreadable(spark, listing.files),
        f"Spark cannot read it as parquet ({last_cause(said_by(error))})",
        "write it again, or check --source; the tables are as they were",
    )


def _first_unreadable(spark: SparkSession, files: Sequence[str]) -> str:
    """Which of files that cannot be read together is to blame; halves them, as reading many takes one job."""
    while len(files) > 1:
        half = files[: len(files) // 2]
        files = half if _is_unreadable(spark, half) else files[len(half) :]
    return files[0]


def _is_unreadable(spark: SparkSession, files: Sequence[str]) -> bool:
    try:
        spark.read.option("mergeSchema", "true").parquet(*map(literal, files))
    except JVM_ERRORS:
        return True
    return False
