"""OpenSearch User Behavior Insights 1.x: query and event documents as JSON lines, mixed or in separate files.

The schema is https://github.com/o19s/ubi (1.0 to 1.3) as the OpenSearch plugin stores it. Bulk-load action lines
(``{"index": {...}}``) are skipped. A request is a query document: ``request_id`` is its query_id, ``query`` its
user_query, ``user_id`` the client_id, ``item_id`` the event's object_id, ``position`` the ordinal, first is 1.
Timestamps stay as written, ISO 8601 or epoch milliseconds; candidate sets are of the UTC day that theirs tells.

- Action names are mapped by ACTIONS; an unknown one that names an object passes through, for ingest to reject.
- Events that name no object and whose action is not in ACTIONS (search, scroll, login) are no item actions: no rows.
- A query without logged impressions has shown its response's hits, in their order, when it was made.
- An event whose query is not in the input has no query text (unless it brings its own): ingest rejects it.
- Other fields are kept; one that an event lacks comes from its query. A rename may reach into the free-form
  attributes: ``{country: query_attributes.country}``.
"""

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from etl.contract.columns import CANDIDATES, EVENTS, IMPRESSION, ITEMS, QUERIES
from etl.contract.dates import DateRange
from etl.sources.columns import CORRUPT, quoted, raw_names, required_columns, typed
from etl.sources.errors import InputError, MissingColumnsError
from etl.sources.files import load_json, mask_corrupt
from etl.sources.listing import list_files
from etl.timestamps import parse_timestamp

#: Lower-case action_name -> our action.
ACTIONS = {
    "impression": IMPRESSION,
    "impressions": IMPRESSION,
    "view": IMPRESSION,
    "item_view": IMPRESSION,
    "product_view": IMPRESSION,
    "hover": IMPRESSION,
    "item_hover": IMPRESSION,
    "product_hover": IMPRESSION,
    "click": "click",
    "click_through": "click",
    "item_click": "click",
    "product_click": "click",
    "result_click": "click",
    "watch": "long_click",
    "long_click": "long_click",
    "dwell": "long_click",
    "add_to_cart": "save",
    "cart": "save",
    "add_to_list": "save",
    "add_to_wishlist": "save",
    "bookmark": "save",
    "favorite": "save",
    "save": "save",
    "purchase": "purchase",
    "product_purchase": "purchase",
    "buy": "purchase",
    "order": "purchase",
    "checkout": "purchase",
}
#: A hover proves that one item was seen, not that the application logs what it shows.
_HOVERS = ("hover", "item_hover", "product_hover")

_BULK_ACTIONS = ("index", "create", "update", "delete")
_ATTRIBUTES = ("event_attributes", "query_attributes")
_SCALARS = (
    *("application", "query_id", "client_id", "user_id", "session_id", "timestamp", "user_query", "query"),
    *("action_name", "message_type", "message", "object_id_field", "query_response_id"),
)
#: What the plugin calls the hits in one version and another.
_HITS = ("query_response_hit_ids", "query_response_object_ids")
#: Object-valued fields arrive as JSON text: their shape differs between documents.
_TYPES: dict[str, T.DataType] = {
    **{name: T.StringType() for name in (*_SCALARS, *_ATTRIBUTES, *_BULK_ACTIONS)},
    **{name: T.ArrayType(T.StringType()) for name in _HITS},
}
_OURS = ("request_id", "ts", "user_id", "query", "item_id", "action", "position")
#: Fields that became one of ours, or mean nothing outside the search engine.
_SPENT = {
    *(*_OURS, *_BULK_ACTIONS, *_HITS, CORRUPT, "is_event", "hits"),
    *("query_id", "timestamp", "client_id", "user_query", "action_name"),
}


def read_ubi(
    spark: SparkSession,
    path: str | None,
    table: str,
    renames: Mapping[str, str],
    date_range: DateRange | None = None,
    segments: Sequence[str] = (),
) -> DataFrame:
    """The rows of ``table``; InputError for ``items``, which UBI does not hold."""
    required_columns(table)
    if table == ITEMS:
        raise InputError(
            str(path), "UBI holds queries and events, no catalogue", "ingest it with --source json, csv or parquet"
        )
    documents = mask_corrupt(load_json(spark, list_files(spark, path), str(path), _TYPES))
    if table != EVENTS:
        # Queries may lie in files of their own, without the fields of events.
        renames = {ours: theirs for ours, theirs in renames.items() if _is_there(theirs, documents)}
    extracted = extract(documents, renames, str(path), segments)
    if table == CANDIDATES:
        return candidates(extracted, date_range)
    return {EVENTS: events, QUERIES: queries}[table](extracted)


def extract(documents: DataFrame, renames: Mapping[str, str], where: str, segments: Sequence[str] = ()) -> DataFrame:
    """UBI documents under our names; ``is_event`` and ``hits`` beside them. Bulk-load action lines are gone.

    Raises MissingColumnsError for a rename to a field that no document has.
    """
    meant = {
        "request_id": "query_id",
        "ts": "timestamp",
        "user_id": "client_id",
        "query": "user_query",
        "item_id": "event_attributes.object.object_id",
        "action": "action_name",
        "position": "event_attributes.position.ordinal",
        **renames,
    }
    for ours, theirs in meant.items():
        if not _is_there(theirs, documents):
            raise MissingColumnsError(where, "ubi", [ours], documents.columns, renames)
    extras = [field for field in documents.schema.fields if field.name.lower() not in {*_SPENT, *meant}]
    names = raw_names([field.name for field in extras], segments, {})
    bulk_line = (
        F.coalesce(*[F.col(name) for name in _BULK_ACTIONS]).isNotNull()
        & F.coalesce(F.col("action_name"), F.col("query_id"), F.col("timestamp"), F.col("user_query")).isNull()
    )
    return documents.where(~bulk_line).select(
        *[_field(theirs, documents).alias(ours) for ours, theirs in meant.items()],
        *[typed(field).alias(name) for field, name in zip(extras, names, strict=True)],
        # A query's own fields say what it is; anything else has to say what happened.
        (F.col("action_name").isNotNull() | F.coalesce("query_id", "user_query").isNull()).alias("is_event"),
        F.coalesce(*[F.col(name) for name in _HITS]).alias("hits"),
        F.col(CORRUPT),
    )


def events(documents: DataFrame) -> DataFrame:
    """One row per item action and per implied impression."""
    names = [name for name in documents.columns if name not in ("is_event", "hits")]
    query_docs = documents.where(~F.col("is_event"))
    raw_action = F.lower(F.trim("action"))
    known = F.create_map(*[F.lit(text) for pair in ACTIONS.items() for text in pair])
    actions = documents.where("is_event").withColumn("raw_action", raw_action)
    actions = actions.withColumn("action", F.coalesce(F.try_element_at(known, F.col("raw_action")), F.col("action")))
    is_item_action = F.col("item_id").isNotNull() | F.col("raw_action").isin(*ACTIONS)
    # Neither a query nor an action: a corrupt line or a foreign document. It stays, for ingest to reject.
    actions = actions.where(is_item_action | F.col("raw_action").isNull())
    return _with_query(actions, query_docs).select(*names).unionByName(_implied(query_docs, actions).select(*names))


def queries(documents: DataFrame) -> DataFrame:
    """Distinct query texts, as ``query`` and ``text``."""
    texts = documents.where(~F.col("is_event") & F.col("query").isNotNull()).select("query").distinct()
    return texts.withColumn("text", F.col("query"))


def candidates(documents: DataFrame, days: DateRange | None = None) -> DataFrame:
    """One row per query document with hits: ``items`` in response order, ``ds`` the day of the query.

    Those of a query that was logged several times (a retry, a next page) have the items of all of them. Without a
    readable timestamp ``ds`` is the first of ``days``. A field ``ds`` of the log's own stays as it is.
    """
    shown = documents.where(~F.col("is_event") & (F.size("hits") > 0)).drop("is_event", "item_id", "action", "position")
    by_query = shown.where(F.col("request_id").isNotNull()).groupBy("request_id")
    pages = by_query.agg(F.sort_array(F.collect_list(F.struct("ts", "hits"))).alias("pages"))
    of_all = F.array_distinct(F.flatten("pages.hits"))
    items = F.when(F.size("pages") > 1, of_all).otherwise(F.col("hits"))
    sets = shown.join(pages, "request_id", "left").withColumn("items", items).drop("hits", "pages")
    if "ds" in sets.columns:
        return sets
    own_ds = F.date_format(parse_timestamp(F.col("ts"), sets.schema["ts"].dataType), "yyyy-MM-dd")
    return sets.withColumn("ds", F.coalesce(own_ds, F.lit(days.start if days else None)))


def _with_query(actions: DataFrame, query_docs: DataFrame) -> DataFrame:
    """Fill what an event lacks from the first document of its query."""
    names = [name for name in query_docs.columns if name not in ("request_id", "is_event", "hits", CORRUPT)]
    own = ("ts", "item_id", "action", "position")
    shared = [name for name in names if name not in own]
    # A query that was logged twice (a retry, a next page) must not double its events; the first one names it.
    first = query_docs.where(F.col("request_id").isNotNull()).groupBy("request_id")
    by_query = first.agg(F.min(F.struct("ts", *[F.col(quoted(name)) for name in shared])).alias("asked"))
    joined = actions.join(by_query, "request_id", "left")
    filled = {name: F.coalesce(F.col(quoted(name)), F.col(f"asked.{quoted(name)}")) for name in shared}
    # What the query says about itself wins over what an event repeats.
    filled["query"] = F.coalesce(F.col("asked.query"), F.col("query"))
    return joined.withColumns(filled)


def _implied(query_docs: DataFrame, actions: DataFrame) -> DataFrame:
    """An impression per hit of every query whose impressions were not logged."""
    seen = actions.where((F.col("action") == IMPRESSION) & F.col("request_id").isNotNull())
    logged = seen.groupBy("request_id").agg(
        F.max(~F.col("raw_action").isin(*_HOVERS)).alias("logs_impressions"), F.collect_set("item_id").alias("seen")
    )
    joined = query_docs.where(F.size("hits") > 0).join(logged, "request_id", "left")
    shown = joined.where(~F.coalesce(F.col("logs_impressions"), F.lit(False)))
    hits = shown.select("*", F.posexplode("hits").alias("index", "hit"))
    unseen = hits.where(~F.coalesce(F.array_contains("seen", F.col("hit")), F.lit(False)))
    return unseen.withColumns(
        {
            "item_id": F.col("hit"),
            "action": F.lit(IMPRESSION),
            "position": (F.col("index") + 1).cast("string"),
        }
    )


def _is_there(path: str, documents: DataFrame) -> bool:
    return path in documents.columns or path.partition(".")[0] in _ATTRIBUTES


def _field(path: str, documents: DataFrame) -> Column:
    if path in documents.columns:
        return F.col(quoted(path))
    attributes, _, inner = path.partition(".")
    return F.get_json_object(F.col(attributes), f"$.{inner}")
