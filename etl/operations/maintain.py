"""The maintenance job: old days go, files are clustered by query, files that nobody needs are removed.

No row that stays changes. VACUUM alone would not do: how long Delta remembers which files a table has given up is a
property of the table, and a longer retention in the command does not reach further back. So what versions in
use hold is left out of the inventory that VACUUM may remove from.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, parse_ds, ranges_of
from etl.contract.settings import config_hash
from etl.delta_log import committed_at
from etl.lake import Lake, data_files
from etl.operations.audit import records_of, runs_table
from etl.operations.errors import UnknownVersionError
from etl.operations.references import Needed, needed_versions
from etl.operations.retention import days_to_drop, first_kept
from etl.plan import TILES
from etl.recovery import record_lost_commits
from etl.runs import DROPPED, OPTIMIZED, SUCCEEDED, Run, wall_clock
from etl.scored_parts import remove_parts
from etl.sources.listing import JVM_ERRORS, Found, files_below, first_line
from etl.spark_errors import said_by
from etl.tiles import table_of
from etl.write import Output, keep_log, optimize, replace_partitions, vacuum

#: Tables whose readers ask for queries.
CLUSTERED = (c.EVENTS, *c.BY_QUERY, c.CANDIDATES, c.SCORES)
CLUSTER_BY = "query_key"
TABLES = (
    *CLUSTERED, c.EVENTS_REJECTED, table_of(1), *TILES, c.ITEMS, c.QUERIES, c.ITEM_VECTORS, c.MODELS, c.MONITORING,
    c.RUNS,
)  # fmt: skip
# Delta keeps log entries for 30 days of its own accord; they are cleaned when it writes a checkpoint.
_LOG_DAYS, _LOG_MARGIN_DAYS = 30, 15
# Delta's conditions for a version that nothing can bring back. Any other failure says nothing about the version.
_GONE = re.compile(r"\[DELTA_(VERSION_NOT_FOUND|NO_RECREATABLE_HISTORY_FOUND|TRUNCATED_TRANSACTION_LOG)\]")


@dataclass
class Upkeep:
    """What was done to one table, or would be."""

    table: str
    dropped: DateRange | None = None
    optimized: list[DateRange] = field(default_factory=list)
    removed_files: int = 0
    """In a dry run at most 1000: Delta names no more."""
    removed_bytes: int = 0
    kept_versions: dict[int, list[str]] = field(default_factory=dict)
    """Versions whose files stay beside the newest, and who needs each."""
    lost_versions: list[int] = field(default_factory=list)
    """Needed versions that could not be read any more before anything was done."""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        dropped = None if self.dropped is None else str(self.dropped)
        kept = {str(version): who for version, who in self.kept_versions.items()}
        return {**vars(self), "dropped": dropped, "optimized": list(map(str, self.optimized)), "kept_versions": kept}


@dataclass(frozen=True)
class Maintained:
    tables: list[Upkeep]
    missing: list[str]
    """Folders of registered models and exports that are not there any more."""
    scored_parts: int
    """Files of parts of days that killed runs of ``score`` had kept aside; these go too."""


def maintain(lake: Lake, config: EtlConfig, today: str, folders: Sequence[Path], dry_run: bool = False) -> Maintained:
    """Drop, cluster and vacuum every table, ``today`` being the newest day that retention counts from.

    Versions that models, exports and files for serving below ``folders``, registered models, or runs of the last
    ``maintain.vacuum_days`` refer to stay readable. Nothing else may write meanwhile. Raises DamagedReferenceError and
    UnknownVersionError before anything is dropped or removed.
    """
    tables = [table for table in TABLES if lake.exists(table)]
    if not dry_run:
        record_lost_commits(lake, tables)
    since = wall_clock() - timedelta(days=config.maintain.vacuum_days)
    needed = needed_versions(lake, folders, since)
    first = first_kept(config.maintain.retention_days, today)
    done = [Upkeep(table) for table in tables]
    # Of all tables first: where one cannot be told, none is changed.
    kept = [_kept_files(lake, upkeep, needed) for upkeep in done]
    for upkeep, keep in zip(done, kept, strict=True):
        table = upkeep.table
        if table in first:
            upkeep.dropped = days_to_drop(table, lake.days_of(table), first[table])
        upkeep.optimized = _due(lake, table, upkeep.dropped)
        if not dry_run:
            # Before any commit: with one, Delta may clean the log.
            _keep_log(lake, upkeep)
            _change(lake, config, upkeep)
        _vacuum(lake, config, upkeep, keep, dry_run)
    return Maintained(done, needed.missing, remove_parts(lake, dry_run))


def _change(lake: Lake, config: EtlConfig, upkeep: Upkeep) -> None:
    """Retention and clustering, each recorded."""
    if upkeep.dropped is not None:
        nothing = lake.read(upkeep.table).where(F.lit(False))
        run = Run("maintain", config_hash(config), inputs={upkeep.table: lake.version(upkeep.table)}, outcome=DROPPED)
        replace_partitions(lake, [Output(upkeep.table, nothing, upkeep.dropped, (), placed=True)], run)
    if upkeep.optimized:
        run = Run("maintain", config_hash(config), inputs={upkeep.table: lake.version(upkeep.table)}, outcome=OPTIMIZED)
        for days in upkeep.optimized:
            optimize(lake, upkeep.table, days, CLUSTER_BY if upkeep.table in CLUSTERED else None, run)


def _due(lake: Lake, table: str, dropped: DateRange | None) -> list[DateRange]:
    """Days of several files that were written since they were clustered last."""
    if table not in (*CLUSTERED, c.RUNS):
        return []
    files: dict[str, int] = {}
    for uri in data_files(lake, table, lake.version(table)):
        ds = uri.rpartition("/")[0].rpartition("ds=")[2]
        files[ds] = files.get(ds, 0) + 1
    several = [ds for ds, count in files.items() if count > 1 and _is_day(ds) and not (dropped and ds in dropped)]
    if not several or table == c.RUNS:
        return ranges_of(several)
    written, clustered = _last(lake, table, SUCCEEDED), _last(lake, table, OPTIMIZED)
    return ranges_of([ds for ds in several if written.get(ds, 0) > clustered.get(ds, -1)])


def _last(lake: Lake, table: str, status: str) -> dict[str, int]:
    """ds -> the newest version that a record of this status names for it."""
    if not lake.exists(c.RUNS):
        return {}
    last: dict[str, int] = {}
    for record in records_of(runs_table(lake).where((F.col("table") == table) & (F.col("status") == status))):
        for ds in DateRange(record.ds, record.end_ds):
            last[ds] = max(last.get(ds, -1), record.output_version or 0)
    return last


def _is_day(ds: str) -> bool:
    return len(ds) == 10 and ds[4] == ds[7] == "-" and str(parse_ds(ds)) == ds


def _vacuum(lake: Lake, config: EtlConfig, upkeep: Upkeep, keep: set[str], dry_run: bool) -> None:
    hours = 24 * config.maintain.vacuum_days
    before = (wall_clock() - timedelta(hours=hours)).timestamp() * 1000
    folder = lake.path(upkeep.table)
    listed = files_below(lake.spark, folder)
    old = [file for file in listed if file.modified_ms < before and _is_data(file) and _name(file.path) not in keep]
    if not old:
        return
    going = set(map(_name, vacuum(lake, upkeep.table, _inventory(lake, old), hours, dry_run)))
    if not dry_run:
        going = {_name(file.path) for file in old} - {_name(file.path) for file in files_below(lake.spark, folder)}
    removed = [file for file in old if _name(file.path) in going]
    upkeep.removed_files, upkeep.removed_bytes = len(removed), sum(file.bytes for file in removed)


def _kept_files(lake: Lake, upkeep: Upkeep, needed: Needed) -> set[str]:
    """Names of the files of versions that are needed; notes which versions these are.

    Raises UnknownVersionError where a version's files cannot be told, though it may be there.
    """
    names: set[str] = set()
    for version, who in sorted(needed.by_table.get(upkeep.table, {}).items()):
        try:
            names |= set(map(_name, data_files(lake, upkeep.table, version)))
            upkeep.kept_versions[version] = who
        except JVM_ERRORS as error:
            if not _GONE.search(said_by(error)):
                raise UnknownVersionError(upkeep.table, version, who, first_line(error)) from error
            upkeep.lost_versions.append(version)
    return names


def _keep_log(lake: Lake, upkeep: Upkeep) -> None:
    """Without its log entries a version is unreadable, whatever files are there."""
    path = lake.path(upkeep.table)
    times = [committed_at(lake.spark, path, version) for version in upkeep.kept_versions]
    ages = [(wall_clock() - at).days for at in times if at is not None]
    if ages and max(ages) + _LOG_MARGIN_DAYS > _LOG_DAYS:
        keep_log(lake, upkeep.table, max(ages) + _LOG_MARGIN_DAYS)


def _inventory(lake: Lake, files: Sequence[Found]) -> DataFrame:
    """As VACUUM reads it. A folder stands beside its files: VACUUM takes one that is named once for an empty one."""
    folders = sorted({file.path.rpartition("/")[0] for file in files})
    rows = [(file.path, file.bytes, False, file.modified_ms) for file in files]
    rows += [(folder, 0, True, 0) for folder in folders]
    return lake.spark.createDataFrame(rows, "path string, length long, isDir boolean, modificationTime long")


def _is_data(file: Found) -> bool:
    return file.path.rpartition("/")[0].rpartition("/")[2].startswith("ds=")


def _name(uri: str) -> str:
    """A file's own name, which holds a UUID: one file, one name, however the path to it is written."""
    return uri.rpartition("/")[2]
