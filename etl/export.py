"""The export job: point-in-time training data for a range of days, in the layout of etl.contract.manifest."""

import math
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
from pyspark import StorageLevel
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract import manifest as m
from etl.contract.dates import DateRange, shift_ds
from etl.contract.errors import UsageError
from etl.contract.publish import published_directory
from etl.contract.settings import digest
from etl.cross import AS_OF, cross_names, with_cross
from etl.histories import actions_of, as_lists, with_history_end
from etl.item_versions import VERSION, described_items, version_of
from etl.lake import Lake
from etl.plan import require_source
from etl.quality.export import check_export
from etl.training_rows import requests, training_rows

# Readers load whole shards; a day above this is cut by a hash of its requests.
_ROWS_PER_SHARD = 2_000_000


@dataclass(frozen=True)
class ExportReport:
    out: str
    days: DateRange
    rows: dict[str, int]
    """Rows by split."""
    items: int
    queries: int
    users: int
    cross: int


@dataclass(frozen=True)
class ExportFrames:
    """The four parts of an export as DataFrames, ordered by their index where they have one."""

    rows: DataFrame
    items: DataFrame
    queries: DataFrame
    histories: DataFrame
    segments: dict[str, tuple[str, ...]]
    expected_rows: int


def export_training_data(
    lake: Lake, config: EtlConfig, days: DateRange, out: Path, truth: str | None = None
) -> ExportReport:
    """Write the export of ``days`` to ``out``, replacing what is there, only when it is whole and has passed its gate.

    ``truth`` is a simulator's table of (request_id, item_id, probability), kept beside the rows as ``oracle``.
    Raises MissingDataError if interactions of D-1-lag_days are missing, UsageError if the range is too short to split.
    """
    splits = split_days(days, config)
    require_source(lake, c.EVENTS, days)
    require_source(lake, c.INTERACTIONS, days.shift(-1 - config.interactions.lag_days))
    oracle = lake.spark.read.parquet(truth) if truth else None
    frames = training_frames(lake, config, days, oracle)
    rows = frames.rows.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        with published_directory(out) as aside:
            manifest = _write(aside, frames, rows, lake, config, days, splits, oracle is not None)
            check_export(aside, manifest, frames.expected_rows, config)
            manifest.write(aside)
    finally:
        rows.unpersist()
    by_split = {name: sum(s.rows for s in manifest.shards if s.split == name) for name in m.SPLITS}
    return ExportReport(str(out), days, by_split, manifest.items, manifest.queries, manifest.users, len(manifest.cross))


def split_days(days: DateRange, config: EtlConfig) -> dict[str, str]:
    """ds -> split: the last days are for testing, those before them for validation, the rest for training."""
    held_out = config.export.validation_days + config.export.test_days
    if len(days) <= held_out:
        raise UsageError(
            f"{days} has {len(days)} days, but validation and test take {held_out}: export a longer range, or lower "
            "export.validation_days and export.test_days"
        )
    names = [m.TRAIN] * (len(days) - held_out) + [m.VALIDATION] * config.export.validation_days
    names += [m.TEST] * config.export.test_days
    return dict(zip(days, names, strict=True))


def training_frames(lake: Lake, config: EtlConfig, days: DateRange, oracle: DataFrame | None) -> ExportFrames:
    """Rows, items, queries and histories; reads only what the rows of ``days`` could know."""
    lag = config.interactions.lag_days
    # A request may begin just before its day's end and be acted on just after.
    events = lake.read(c.EVENTS, days.widen(before=1, after=1))
    begun = requests(events, days)
    reach = DateRange(shift_ds(days.start, -config.export.history_days), days.end)
    actions = actions_of(lake.read(c.EVENTS, reach), begun.select("user_id").distinct())
    snapshots = lake.days_of(c.ITEMS)
    rows = training_rows(events, with_history_end(begun, actions), config.heads)
    rows = rows.withColumn(VERSION, version_of(F.col("ds"), snapshots, days, lag))
    rows = rows.withColumn(AS_OF, F.date_format(F.date_sub(F.to_date("ds"), 1 + lag), "yyyy-MM-dd"))
    rows = with_cross(rows, lake.read(c.INTERACTIONS, days.shift(-1 - lag)), config)
    actions = actions.withColumn(VERSION, version_of(F.col("ds"), snapshots, reach, lag))

    references = rows.select("item_id", VERSION).unionByName(actions.select("item_id", VERSION))
    catalogue = lake.read(c.ITEMS) if snapshots else None
    settings = config.items
    items = described_items(references, catalogue, settings.categories, settings.numerics, settings.dense)
    items = _indexed(items, "item", "item_id", VERSION).persist(StorageLevel.MEMORY_AND_DISK)
    queries = _indexed(rows.select("query_key").distinct(), "query", "query_key")
    users = _indexed(begun.select("user_id").distinct(), "user", "user_id")
    histories = _histories(actions, items, users, config)
    segments = {name: _segment_values(rows, name) for name in config.events.segments}
    rows = rows.join(items.select("item", "item_id", VERSION), ["item_id", VERSION]).join(queries, "query_key")
    rows = _with_oracle(rows.join(users, "user_id"), oracle)
    of_requests = events.join(begun.select("request_id"), "request_id", "left_semi")
    expected_rows = of_requests.select("request_id", "item_id").distinct().count()
    return ExportFrames(_shaped(rows, segments), items, queries, histories, segments, expected_rows)


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
        "position",
        F.array(*known).cast("array<int>").alias("segments"),
        "labels",
        F.lit(1.0).cast("float").alias("weight"),
        "cross",
        "oracle",
    )


def _write(
    out: Path, frames: ExportFrames, rows: DataFrame, lake: Lake, config: EtlConfig, days: DateRange,
    splits: dict[str, str], has_oracle: bool,
) -> m.Manifest:  # fmt: skip
    coverage = _coverage(rows, config)
    shards = _write_rows(rows, coverage, out, splits)
    counts = {
        "items": _write_table(frames.items.select("item", *m.ITEMS), "item", m.ITEMS, out / "items.parquet"),
        "queries": _write_table(
            frames.queries.withColumn("text", F.col("query_key")), "query", m.QUERIES, out / "queries.parquet"
        ),
        "users": _write_table(frames.histories, "user", m.HISTORIES, out / "histories.parquet"),
    }
    frames.items.unpersist()
    settings = config.items
    return m.Manifest(
        start_ds=days.start,
        end_ds=days.end,
        lag_days=config.interactions.lag_days,
        history_length=config.export.history_length,
        heads=tuple(m.Head(head.name, head.actions, head.weight) for head in config.heads),
        actions=config.events.actions,
        segments=frames.segments,
        cross=tuple(cross_names(config)),
        categories=settings.categories,
        numerics=settings.numerics,
        dense=settings.dense,
        shards=shards,
        positives=_positives(rows, config),
        sources=dict(lake.pinned),
        config_hash=digest(config),
        has_oracle=has_oracle,
        coverage_by_ds=coverage,
        **counts,
    )


def _write_rows(rows: DataFrame, coverage: dict[str, dict[str, float]], out: Path, splits: dict[str, str]) -> tuple[m.Shard, ...]:
    """One shard per ds, or several by request where a day is large; requests stay whole and in time order."""
    cuts = max(1, math.ceil(max((day["rows"] for day in coverage.values()), default=0) / _ROWS_PER_SHARD))
    placed = rows.withColumn("cut", F.pmod("request", F.lit(cuts)))
    placed = placed.repartition(cuts * max(1, len(coverage)), "ds", "cut")
    ordered = placed.sortWithinPartitions("ds", "cut", "ts", "request", "position", "item")
    scratch = out / "scratch"
    ordered.withColumn("day", F.col("ds")).write.partitionBy("day", "cut").parquet(scratch.as_uri())
    (out / "rows").mkdir()
    shards = []
    for number, part in enumerate(sorted(scratch.glob("day=*/cut=*/*.parquet"))):
        path = f"rows/{number:05d}.parquet"
        part.rename(out / path)
        ds = part.parent.parent.name.removeprefix("day=")
        shards.append(m.Shard(path, splits[ds], pq.read_metadata(out / path).num_rows))
    _remove(scratch)
    return tuple(shards)


def _write_table(frame: DataFrame, index: str, columns: dict[str, str], path: Path) -> int:
    """One file in the order of ``index``; returns its rows."""
    scratch = path.with_suffix(".scratch")
    frame.coalesce(1).sortWithinPartitions(index).select(*columns).write.parquet(scratch.as_uri())
    [part] = scratch.glob("*.parquet")
    part.rename(path)
    _remove(scratch)
    return int(pq.read_metadata(path).num_rows)


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def _coverage(rows: DataFrame, config: EtlConfig) -> dict[str, dict[str, float]]:
    """Per ds: rows, and the share of them whose pair has interaction history."""
    has_history = cross_names(config).index("all__has_history")
    days = rows.groupBy("ds").agg(
        F.count(F.lit(1)).alias("rows"), F.avg(F.get("cross", F.lit(has_history))).alias("with_history")
    )
    return {day.ds: {"rows": day.rows, "with_history": day.with_history} for day in days.orderBy("ds").toLocalIterator()}


def _positives(rows: DataFrame, config: EtlConfig) -> dict[str, int]:
    sums = [F.sum(F.get("labels", F.lit(index))).alias(head.name) for index, head in enumerate(config.heads)]
    [total] = rows.agg(*sums).toLocalIterator()
    return {name: int(count or 0) for name, count in total.asDict().items()}

