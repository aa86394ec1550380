"""The export job: point-in-time training data for a range of days, in the layout of etl.contract.manifest."""

import dataclasses
import math
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.arrow_files import write_arrow
from etl.caching import Cached
from etl.catalogues import snapshot_days
from etl.config import EtlConfig, ExportConfig
from etl.contract import columns as c
from etl.contract import manifest as m
from etl.contract.dates import DateRange, shift_ds
from etl.contract.errors import UsageError
from etl.contract.paths import file_uri
from etl.contract.publish import published_directory
from etl.contract.settings import config_hash
from etl.cross import cross_names
from etl.lake import Lake
from etl.maturity import require_mature
from etl.negatives import require_catalogue
from etl.plan import require_current, require_source
from etl.quality.drift import check_drift, drift_of
from etl.quality.export import check_export
from etl.quality.statistics import summarize
from etl.query_history import LIST
from etl.query_items import can_rank
from etl.sources.errors import InputError
from etl.tiles import table_of
from etl.training_frames import ExportFrames, training_frames

_SOURCES = (c.EVENTS, c.INTERACTIONS, table_of(1), c.QUERIES_DAILY, c.QUERY_ITEMS, c.ITEMS)

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
    drift: dict[str, float]
    """PSI by feature against the baseline; empty without one."""
    drift_unmatched: tuple[str, ...]
    """Features that only one of the two exports has."""


@dataclass(frozen=True)
class _Baseline:
    """An earlier export: read before anything is written, as the new one may take its place."""

    directory: Path
    manifest: m.Manifest


def export_training_data(
    lake: Lake, config: EtlConfig, days: DateRange, out: Path, truth: str | None = None, baseline: Path | None = None
) -> ExportReport:
    """Write the export of ``days`` to ``out``, replacing what is there, only when it is whole and has passed its gate.

    ``truth`` is a simulator's table of (request_id, item_id, probability), kept beside the rows as ``oracle``;
    ``baseline`` is an export whose features these are compared with. Raises MissingDataError if interactions of
    D-1-lag_days are missing, ImmatureLabelsError if labels of a day could still change (see etl.maturity), UsageError
    if the range is too short to split, ManifestError if the baseline is no export, GateError if a row breaks a promise
    or a feature drifted further than ``export.max_psi``.
    """
    earlier = _Baseline(baseline, m.read_manifest(baseline)) if baseline else None
    splits = split_days(days, config)
    require_mature(lake, days, config.export.label_window_days)
    seen = days.shift(-1 - config.interactions.lag_days)
    require_current(lake, config, c.INTERACTIONS, seen)
    if can_rank(config):
        require_source(lake, c.QUERY_ITEMS, seen)
    _require_catalogue(lake, days, config.interactions.lag_days)
    require_catalogue(lake, config, days)
    oracle = lake.spark.read.parquet(truth) if truth else None
    with Cached() as keep, published_directory(out, m.FILE, m.SHARDS) as aside:
        frames = training_frames(lake, config, days, splits, oracle, keep)
        manifest = _write(aside, frames, lake, config, days, splits, oracle is not None)
        check_export(aside, manifest, splits, frames.expected_rows, config)
        manifest, unmatched = _with_statistics(aside, manifest, earlier, config)
        manifest.write(aside)
    return ExportReport(
        out=str(out),
        days=days,
        rows={name: sum(shard.rows for shard in manifest.shards if shard.split == name) for name in m.SPLITS},
        items=manifest.items,
        queries=manifest.queries,
        users=manifest.users,
        cross=len(manifest.cross),
        drift=manifest.drift,
        drift_unmatched=unmatched,
    )


def _with_statistics(
    out: Path, manifest: m.Manifest, baseline: _Baseline | None, config: EtlConfig
) -> tuple[m.Manifest, tuple[str, ...]]:
    """The manifest with what its training rows look like, and the features that the baseline does not share."""
    summary = summarize(out, manifest)
    manifest = dataclasses.replace(manifest, statistics=summary.statistics)
    if baseline is None:
        return manifest, ()
    drift = drift_of(summary, baseline.manifest.statistics)
    check_drift(drift, config.export.max_psi, str(baseline.directory))
    return dataclasses.replace(manifest, baseline=baseline.manifest.digest(), drift=drift.psi), drift.unmatched


def _require_catalogue(lake: Lake, days: DateRange, lag_days: int) -> None:
    """A lake may have no catalogue; one that no row may see is a mistake."""
    snapshots = lake.days_of(c.ITEMS)
    newest_seen = shift_ds(days.end, -1 - lag_days)
    if snapshots and snapshot_days(snapshots, newest_seen) is None:
        raise InputError(
            lake.path(c.ITEMS),
            f"the first catalogue snapshot is of {snapshots[0]}, rows up to {days.end} see none after {newest_seen}",
            f"ingest the catalogue as of an earlier day: --table items --ds {shift_ds(days.start, -1 - lag_days)}",
        )


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


def _write(
    out: Path, frames: ExportFrames, lake: Lake, config: EtlConfig, days: DateRange,
    splits: dict[str, str], has_oracle: bool,
) -> m.Manifest:  # fmt: skip
    coverage = _coverage(frames.rows, config)
    shards = _write_rows(frames.rows, coverage, out, splits)
    queries = frames.queries.withColumn("text", F.col("query_key"))
    settings = config.items
    return m.Manifest(
        start_ds=days.start,
        end_ds=days.end,
        lag_days=config.interactions.lag_days,
        history_length=config.export.history_length,
        history_days=config.export.history_days,
        heads=tuple(m.Head(head.name, head.actions, head.weight, head.veto) for head in config.heads),
        actions=config.events.actions,
        segments=frames.segments,
        cross=tuple(cross_names(config)),
        categories=settings.categories,
        numerics=settings.numerics,
        dense=settings.dense,
        shards=shards,
        items=_write_table(frames.items, "item", m.ITEMS, out / m.ITEMS_FILE),
        queries=_write_table(queries, "query", m.QUERIES, out / m.QUERIES_FILE),
        users=_write_table(frames.histories, "user", m.HISTORIES, out / m.HISTORIES_FILE),
        query_items=_write_table(frames.query_items, LIST, m.QUERY_ITEMS, out / m.QUERY_ITEMS_FILE),
        positives=_positives(frames.rows, config),
        sources={table: lake.version(table) for table in _SOURCES if table in lake.pinned},
        config_hash=config_hash(config),
        has_oracle=has_oracle,
        coverage_by_ds=coverage,
        label_definition=_label_definition(config.export),
        splits=_ends_of(splits),
    )


def _label_definition(export: ExportConfig) -> m.LabelDefinition:
    names = [field.name for field in fields(m.LabelDefinition)]
    values = {name: getattr(export, name) for name in names}
    return m.LabelDefinition(**values | {"row_weights": tuple(export.row_weights.items())})


def _write_rows(
    rows: DataFrame, coverage: dict[str, dict[str, float]], out: Path, splits: dict[str, str]
) -> tuple[m.Shard, ...]:
    """One shard per ds, or several by request where a day is large; requests stay whole and in time order."""
    cuts = max(1, math.ceil(max((day["rows"] for day in coverage.values()), default=0) / _ROWS_PER_SHARD))
    placed = rows.withColumn("cut", F.pmod("request", F.lit(cuts)))
    placed = placed.repartition(cuts * max(1, len(coverage)), "ds", "cut")
    ordered = placed.sortWithinPartitions("ds", "cut", "ts", "request", "position", "item")
    scratch = out / "scratch"
    ordered.withColumn("day", F.col("ds")).write.partitionBy("day", "cut").parquet(file_uri(scratch))
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
    """One Arrow file in the order of ``index``; returns its rows."""
    scratch = path.with_suffix(".scratch")
    frame.orderBy(index).select(*columns).write.parquet(file_uri(scratch))
    buffers = scratch / "buffers"
    buffers.mkdir()
    # Names of parts begin with the number of their partition, and partitions follow the order.
    rows = write_arrow(sorted(scratch.glob("part-*.parquet")), columns, path, buffers)
    _remove(scratch)
    return rows


def _ends_of(splits: dict[str, str]) -> dict[str, tuple[str, str]]:
    """First and last ds of each split that has one."""
    days = {name: [ds for ds, split in splits.items() if split == name] for name in m.SPLITS}
    return {name: (min(of_split), max(of_split)) for name, of_split in days.items() if of_split}


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
    return {
        day.ds: {"rows": day.rows, "with_history": day.with_history} for day in days.orderBy("ds").toLocalIterator()
    }


def _positives(rows: DataFrame, config: EtlConfig) -> dict[str, int]:
    sums = [F.sum(F.get("labels", F.lit(index))).alias(head.name) for index, head in enumerate(config.heads)]
    [total] = rows.agg(*sums).toLocalIterator()
    return {name: int(count or 0) for name, count in total.asDict().items()}
