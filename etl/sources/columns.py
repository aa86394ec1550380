"""Raw columns under our names and in our types; rows are neither dropped nor judged here."""

from collections.abc import Iterable, Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from etl.contract.columns import CANDIDATES, EVENTS, ITEMS, QUERIES, RAW_OPTIONAL, RAW_REQUIRED
from etl.contract.errors import UnknownNameError
from etl.sources.errors import MissingColumnsError

CORRUPT = "_corrupt_record"

REQUIRED: dict[str, tuple[str, ...]] = {
    EVENTS: RAW_REQUIRED,
    ITEMS: ("item_id",),
    QUERIES: ("query",),
    CANDIDATES: ("request_id", "query", "user_id"),
}
#: Columns that are found under any spelling too, where there are any.
OPTIONAL: dict[str, tuple[str, ...]] = {EVENTS: RAW_OPTIONAL, CANDIDATES: ("items",)}

#: Columns that writers which know no nullable integer turn into floats: 7.0 means 7.
_WHOLE = ("request_id", "user_id", "item_id", "event_id", "position")
#: Whole numbers are exact in a double up to here.
_EXACT = float(2**53)


def required_columns(table: str) -> tuple[str, ...]:
    """The columns that a raw ``table`` must have; UnknownNameError for a table that is not ingested."""
    if table not in REQUIRED:
        raise UnknownNameError("table", table, REQUIRED)
    return REQUIRED[table]


def require_columns(
    found: Iterable[str], required: Iterable[str], table: str, where: str, renames: Mapping[str, str]
) -> None:
    """Raise MissingColumnsError, with proposals, if ``found`` lacks one of ``required``."""
    names = [name for name in found if name != CORRUPT]
    missing = [name for name in required if name not in names]
    if missing:
        raise MissingColumnsError(where, table, missing, names, renames)


def to_raw(
    df: DataFrame, table: str, renames: Mapping[str, str], where: str, segments: Sequence[str] = ()
) -> DataFrame:
    """Rename and retype ``df`` to what a source returns.

    ``renames`` maps our column to the raw one; of candidate sets, only where there is none of our name. ``segments``
    are columns to look for beside those of the table. A raw column that already has our name, but is not the one meant,
    is kept as ``raw_<name>``. Raises MissingColumnsError.
    """
    required = required_columns(table)
    if table == CANDIDATES:
        renames = {ours: theirs for ours, theirs in renames.items() if _find(ours, df.columns) is None}
    absent = [ours for ours, theirs in renames.items() if ours in required and _find(theirs, df.columns) is None]
    present = [name for name in df.columns if name != CORRUPT]
    if absent:
        raise MissingColumnsError(where, table, absent, present, renames)
    names = raw_names(df.columns, (*required, *OPTIONAL.get(table, ()), *segments), renames)
    # By position: two raw names may differ in case only, which Spark cannot tell apart by name.
    renamed = df.toDF(*names)
    require_columns(names, required, table, where, renames)
    return renamed.select(*[typed(field).alias(field.name) for field in renamed.schema.fields])


def raw_names(columns: Sequence[str], ours: Iterable[str], renames: Mapping[str, str]) -> list[str]:
    """Our name for every raw column, in order; an exact match of a name wins over one that ignores case."""
    claimed: dict[str, str] = {}
    for name in dict.fromkeys([*renames, *ours]):
        raw = _find(renames.get(name, name), columns)
        if raw is not None and raw not in claimed:
            claimed[raw] = name
    taken = {name.lower() for name in claimed.values()}
    names = []
    for column in columns:
        name = claimed.get(column) or (f"raw_{column}" if column.lower() in taken else column)
        names.append(name)
    return names


def idle_renames(
    found: Iterable[str], renames: Mapping[str, str], segments: Iterable[str], elsewhere: Iterable[str]
) -> list[str]:
    """Renames that change nothing in a raw log whose columns are ``found`` under our names, as ``ours=theirs``.

    No raw column stands behind them, or nobody reads what they name. Names of other tables' columns, or ``elsewhere``
    in the configuration, are not judged.
    """
    read, present = {*RAW_REQUIRED, *RAW_OPTIONAL, *segments}, {*found}
    others = {*elsewhere}.union(*REQUIRED.values(), *OPTIONAL.values()) - read
    return [f"{ours}={theirs}" for ours, theirs in renames.items() if ours not in others | (read & present)]


def item_list(column: Column) -> Column:
    """array<string> from text: a JSON array, or items with | between them; null where the JSON is broken."""
    text = F.trim(column)
    from_array = F.from_json(text, T.ArrayType(T.StringType()))
    listed = F.when(text.startswith("["), from_array).otherwise(F.split(text, r"\|"))
    # Not F.trim itself: transform would hand it the index as the characters to trim.
    return F.filter(F.transform(listed, lambda item: F.trim(item, F.lit(" "))), lambda item: item != "")


def _find(name: str, columns: Sequence[str]) -> str | None:
    if name in columns:
        return name
    alike = [column for column in columns if column.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None


def typed(field: T.StructField) -> Column:
    """The column of that name as a source returns it: scalars as text (``ts`` apart), structs as JSON."""
    column = F.col(quoted(field.name))
    kind = field.dataType
    if field.name == "ts" and isinstance(kind, T.NumericType | T.TimestampType):
        return column
    if field.name == "ts" and isinstance(kind, T.TimestampNTZType | T.DateType):
        return column.cast("timestamp")
    if field.name == "items":
        is_list = isinstance(kind, T.ArrayType)
        listed = F.transform(column.cast("array<string>"), _readable) if is_list else item_list(_readable(column))
        # Nothing there is a set without items; null stays for a list that cannot be read.
        return F.when(column.isNull(), F.array().cast("array<string>")).otherwise(listed)
    if isinstance(kind, T.ArrayType):
        holds_text = isinstance(kind.elementType, T.StringType | T.BinaryType)
        return F.transform(column, _readable) if holds_text else column
    if isinstance(kind, T.StructType | T.MapType):
        return F.to_json(column)
    if field.name in _WHOLE and isinstance(kind, T.FloatType | T.DoubleType):
        whole = (column == F.floor(column)) & (F.abs(column) <= _EXACT)
        return F.when(whole, column.cast("decimal(20,0)").cast("string")).otherwise(column.cast("string"))
    return _readable(column) if isinstance(kind, T.StringType | T.BinaryType) else column.cast("string")


def _readable(column: Column) -> Column:
    """As text, U+FFFD for bytes that are not UTF-8: CSV and JSON arrive so, and Python would refuse such text."""
    return F.make_valid_utf8(column.cast("string"))


def quoted(name: str) -> str:
    """A column name that may hold dots, for F.col."""
    return "`" + name.replace("`", "``") + "`"
