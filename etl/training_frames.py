"""The parts of an export as DataFrames: rows, items, queries, and what users and queries did, joined point in time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from etl.backoff import backoff_of
from etl.caching import Cached
from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.contract.manifest import TRAIN
from etl.cross import needs_backoff, with_cross
from etl.histories import actions_of, as_lists, trimmed, with_history_end
from etl.item_versions import VERSION, described_items, version_of
from etl.lake import Lake
from etl.maturity import counted_events, reach_days
from etl.negatives import as_of, draw_negatives, negative_pairs
from etl.query_history import as_rows_of_items, best_items_seen, entries_of, numbered, with_list
from etl.query_windows import AS_OF
from etl.row_counts import expected_rows
from etl.sampling import sampled
from etl.training_rows import labelled_pairs, requests

# Events of one request_id lie within so many days; what comes later would look like a request of its own.
_LONGEST_REQUEST_DAYS = 7


@dataclass(frozen=True)
class ExportFrames:
    """The parts of an export as DataFrames, ordered by their index where they have one."""

    rows: DataFrame
    items: DataFrame
    queries: DataFrame
    histories: DataFrame
    query_items: DataFrame
    segments: dict[str, tuple[str, ...]]
    expected_rows: int


def training_frames(
    lake: Lake, config: EtlConfig, days: DateRange, splits: Mapping[str, str], oracle: DataFrame | None, keep: Cached
) -> ExportFrames:
    """The parts of the export; reads only what the rows of ``days`` could know.

    ``splits`` says which split each ds belongs to.
    """
    lag, window = config.interactions.lag_days, config.export.label_window_days
    # Far enough back to see where a request truly began, however late its last action that counts.
    before = max(_LONGEST_REQUEST_DAYS, window)
    events = lake.read(c.EVENTS, days.widen(before=before, after=reach_days(window)))
    begun = keep(requests(events, days))
    counted = counted_events(events, begun, window)
    reach = DateRange(shift_ds(days.start, -config.export.history_days), days.end)
    actions = actions_of(lake.read(c.EVENTS, reach), begun.select("user_id").distinct())
    located, actions = trimmed(keep(with_history_end(begun, actions)), actions, config.export.history_length)
    snapshots = lake.days_of(c.ITEMS)
    train_days = [ds for ds, split in splits.items() if split == TRAIN]
    pairs = _pairs(counted, begun, lake, config, days, train_days)
    rows = pairs.drop("ds", "acted").join(located, "request_id")
    rows = rows.withColumn(VERSION, version_of(F.col("ds"), snapshots, days, lag))
    rows = keep(rows.withColumn(AS_OF, as_of(lag)))
    actions = keep(actions.withColumn(VERSION, version_of(F.col("ds"), snapshots, reach, lag)))

    seen = days.shift(-1 - lag)
    lists = keep(numbered(best_items_seen(lake, config, rows, seen)))

    items = _described((rows, actions, entries_of(lists)), lake.read(c.ITEMS) if snapshots else None, config)
    items = keep(_indexed(items, "item", "item_id", VERSION))
    queries = _indexed(rows.select("query_key").distinct(), "query", "query_key")
    users = _indexed(begun.select("user_id").distinct(), "user", "user_id")
    histories = _histories(actions, items, users, config)
    segments = {name: _segment_values(rows, name) for name in config.events.segments}
    backoff = backoff_of(lake, seen, config) if needs_backoff(config) else None
    rows = with_cross(rows, lake.read(c.INTERACTIONS, seen), config, backoff)
    rows = rows.join(items.select("item", "item_id", VERSION), ["item_id", VERSION]).join(queries, "query_key")
    rows = _with_oracle(with_list(rows.join(users, "user_id"), lists), oracle)
    expected = expected_rows(counted, begun, lake, config, days, train_days)
    query_items = as_rows_of_items(lists, items)
    return ExportFrames(keep(_shaped(rows, segments)), items, queries, histories, query_items, segments, expected)


def _pairs(
    counted: DataFrame, begun: DataFrame, lake: Lake, config: EtlConfig, days: DateRange, train_days: Sequence[str]
) -> DataFrame:
    """Labelled pairs, those of the training days sampled, and the negatives that were drawn."""
    pairs = sampled(labelled_pairs(counted, config), train_days, config.export)
    negatives = draw_negatives(counted, begun, lake, config, days)
    return pairs if negatives is None else pairs.unionByName(negative_pairs(negatives, config))


def _described(shown: Iterable[DataFrame], catalogue: DataFrame | None, config: EtlConfig) -> DataFrame:
    """Every version of every item that some of ``shown`` has."""
    references = reduce(DataFrame.unionByName, (frame.select("item_id", VERSION) for frame in shown))
    items = config.items
    return described_items(references, catalogue, items.categories, items.numerics, items.dense)


def _indexed(frame: DataFrame, name: str, *key: str) -> DataFrame:
    """Add the dense index ``name`` by the order of ``key``: the same ids get the same numbers in every run."""
    return frame.withColumn(name, (F.row_number().over(Window.orderBy(*key)) - 1).cast("int"))


def _histories(actions: DataFrame, items: DataFrame, users: DataFrame, config: EtlConfig) -> DataFrame:
    numbers = F.array(*(F.lit(action) for action in config.events.actions))
    coded = actions.withColumn("action_index", (F.array_position(numbers, F.col("action")) - 1).cast("tinyint"))
    lists = as_lists(coded.join(items.select("item", "item_id", VERSION), ["item_id", VERSION]))
    everyone = users.join(lists, "user_id", "left")
    return everyone.select(
        "user",
        F.coalesce("items", F.array().cast("array<int>")).alias("items"),
        F.coalesce("actions", F.array().cast("array<tinyint>")).alias("actions"),
        F.coalesce("ts", F.array().cast("array<bigint>")).alias("ts"),
    )


def _segment_values(rows: DataFrame, name: str) -> tuple[str, ...]:
    """The values of a segment, after '' for 'not known'."""
    values = rows.select(F.col("segments")[name].alias("value")).where("value IS NOT NULL").distinct()
    return ("", *sorted(row.value for row in values.toLocalIterator()))


def _with_oracle(rows: DataFrame, oracle: DataFrame | None) -> DataFrame:
    if oracle is None:
        return rows.withColumn("oracle", F.lit(float("nan")))
    known = oracle.groupBy("request_id", "item_id").agg(F.max("probability").cast("double").alias("oracle"))
    joined = rows.join(known, ["request_id", "item_id"], "left")
    return joined.withColumn("oracle", F.coalesce("oracle", F.lit(float("nan"))))


def _shaped(rows: DataFrame, segments: dict[str, tuple[str, ...]]) -> DataFrame:
    """The columns of a row shard, with the ids gone."""
    indices = [
        F.greatest(F.array_position(F.array(*map(F.lit, values)), F.col("segments")[name]) - 1, F.lit(0)).cast("int")
        for name, values in segments.items()
    ]
    known = [F.coalesce(index, F.lit(0)) for index in indices]
    return rows.select(
        "ds",
        F.unix_seconds("ts").alias("ts"),
        F.xxhash64("request_id").alias("request"),
        "query",
        "item",
        "user",
        "history_end",
        "query_items",
        "position",
        F.array(*known).cast("array<int>").alias("segments"),
        "labels",
        F.col("weight").cast("float").alias("weight"),
        "cross",
        "oracle",
    )
