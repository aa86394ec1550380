"""Candidate sets as scoring requests: one row each, with its query's packed lists and its user's last actions.

A pair never becomes a row of its own. What belongs to a query or a user is joined as a list; candidates stay where they
lie, and workers read them there, or they come along as strings.
"""

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.contract import columns as c
from models.features import FeatureSpec
from scoring.cross_lists import packed_lists
from scoring.folded import RATES_LIST, CrossPlan, Rates, list_rows, request_lists
from scoring.item_matrix import shared_matrix

KEPT = ("ds", "request_id", "query_key", "user_id", "segments")
FILE, PLACE, ITEMS = "file", "place", "items"
#: Up to so many bytes, what belongs to queries or users is sent to every task and requests stay where they are.
_BROADCAST_BYTES = 128 * 2**20


def slim(candidates: DataFrame, direct: bool) -> DataFrame:
    """Requests without their items but with where these are; or with them, where workers cannot read the files."""
    if not direct:
        return candidates.select(*KEPT, ITEMS)
    block = F.concat_ws("-", "_metadata.file_block_start", "_metadata.file_block_length")
    # The place grows along a file: workers read a file once if they are asked in its order.
    return candidates.select(
        *KEPT,
        F.concat_ws("#", "_metadata.file_path", block).alias(FILE),
        F.monotonically_increasing_id().alias(PLACE),
    )


def small(frame: DataFrame) -> bool:
    """Whether a persisted frame can be sent to every task; computes it."""
    frame.count()
    # A plan made now knows the size of what has been persisted.
    plan = frame.select("*")._jdf.queryExecution().optimizedPlan()
    return int(str(plan.stats().sizeInBytes())) <= _BROADCAST_BYTES


def query_lists(
    asked: DataFrame, interactions: DataFrame, best: DataFrame | None, plan: CrossPlan, rates: Rates | None,
    matrix: tuple[str, str], partitions: int,
) -> DataFrame:  # fmt: skip
    """(query_key) -> ``packed``, map<string, binary> of lists by name, and ``best`` as ``best_items`` has it.

    One row per query of ``asked`` (query_key); ``interactions`` and ``best`` are of one day; ``matrix`` is its folder
    and stamp.
    """
    lists = asked
    if plan.columns:
        rows = list_rows(interactions.join(asked, "query_key", "left_semi"), plan, rates)
        # By another expression than the join's key: Spark would take the join's own partitions for these, and may then
        # turn the join into a broadcast that keeps none of them together.
        placed = rows.repartition(partitions, F.xxhash64("query_key")).sortWithinPartitions("query_key", "name", "item")
        packed = placed.mapInArrow(_packer(*matrix), "query_key string, name string, packed binary")
        entry = F.struct("name", "packed")
        maps = packed.groupBy("query_key").agg(F.map_from_entries(F.collect_list(entry)).alias("packed"))
        lists = lists.join(maps, "query_key", "left")
    else:
        lists = lists.withColumn("packed", F.lit(None).cast("map<string,binary>"))
    if best is None:
        return lists.withColumn("best", F.lit(None).cast("array<struct<item:bigint,id:int>>"))
    return lists.join(best, "query_key", "left")


def best_items(lists: DataFrame, spec: FeatureSpec) -> DataFrame:
    """(query_key) -> ``best``, the ``items`` (array<string>, best first) of ``lists`` as _listed has them."""
    return lists.select("query_key", F.transform("items", lambda item: F.struct(*_listed(item, spec))).alias("best"))


def _packer(folder: str, stamp: str) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return packed_lists(batches, shared_matrix(folder, stamp))

    return run


def recent_actions(events: DataFrame, users: DataFrame, spec: FeatureSpec, ds: str) -> DataFrame:
    """(user_id) -> ``history``: a user's last engagements before the start of ``ds``, as many as the model reads.

    Latest first, each an item as _listed has it, the ``action``'s place in the spec's and an ``age`` in seconds before
    ``ds`` begins: a candidate set carries no time of its own. Actions that the model does not know are left out.
    """
    start = F.lit(ds).cast("timestamp")
    codes = F.array(*(F.lit(action) for action in spec.actions))
    engaging = [action for action in spec.actions if action != c.IMPRESSION]
    acted = events.where(F.col("action").isin(engaging) & (F.col("ts") < start))
    acted = acted.join(users.select("user_id").distinct(), "user_id", "left_semi")
    kept = F.struct(
        *_listed(F.col("item_id"), spec),
        (F.array_position(codes, F.col("action")) - 1).cast("tinyint").alias("action"),
        (F.unix_seconds(start) - F.unix_seconds("ts")).alias("age"),
    )
    # The order of training (etl.histories), read from its end.
    latest_first = F.sort_array(F.collect_list(F.struct("ts", "event_id", kept.alias("kept"))), asc=False)
    grouped = acted.groupBy("user_id").agg(F.slice(latest_first, 1, spec.history_length).alias("last"))
    return grouped.select("user_id", F.transform("last", lambda one: one["kept"]).alias("history"))


def scoring_requests(
    requests: DataFrame, lists: DataFrame, histories: DataFrame, plan: CrossPlan, spec: FeatureSpec
) -> DataFrame:
    """One row per row of ``requests`` (see ``slim``), in its columns and those that a worker reads.

    The order of ``requests`` stays if the other two are broadcast.
    """
    values = [F.coalesce(F.col("segments")[name], F.lit("")) for name in spec.segments]
    joined = requests.join(lists, "query_key", "left").join(histories, "user_id", "left")
    return joined.select(
        *requests.columns,
        F.array(*values).cast("array<string>").alias("segment_values"),
        request_lists(plan, "packed").alias("lists"),
        F.try_element_at("packed", F.lit(RATES_LIST)).alias("rates"),
        _list("best", "item", "bigint").alias("best_items"),
        _list("best", "id", "int").alias("best_ids"),
        _list("history", "item", "bigint").alias("history_items"),
        _list("history", "id", "int").alias("history_ids"),
        _list("history", "action", "tinyint").alias("history_actions"),
        _list("history", "age", "bigint").alias("history_ages"),
    )


def _listed(item_id: Column, spec: FeatureSpec) -> tuple[Column, Column]:
    """``item``, the hash that finds an item's row, and ``id``, the bucket of its id: all that is known of an item that
    the catalogue does not hold."""
    # As models.hashing.bucket has it.
    hashed = (1 + F.crc32(item_id) % (spec.id_buckets - 1)).cast("int")
    return F.xxhash64(item_id).alias("item"), F.when(item_id == "", 0).otherwise(hashed).alias("id")


def _list(entries: str, field: str, kind: str) -> Column:
    return F.coalesce(F.transform(entries, lambda entry: entry[field].cast(kind)), F.array().cast(f"array<{kind}>"))
