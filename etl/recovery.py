"""What a killed job has committed and not recorded is recorded by the next one that depends on it.

A job commits first and tells ``runs`` then. Killed in between, most jobs simply write the same again. Those that find
nothing left to do would leave the commit without a record, and the plan would not know that the days have changed.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from etl.conflicts import Signature, signature_of
from etl.contract.dates import DateRange
from etl.delta_log import commit_info, committed_at
from etl.lake import Lake
from etl.records import commits_told
from etl.runs import OPTIMIZED, RunRecord, wall_clock
from etl.write import append_records, rows_committed

#: Newest versions of a table that are looked at: a job that failed is run again soon, or not at all.
_VERSIONS = 20


def record_lost_commits(lake: Lake, tables: Iterable[str]) -> list[RunRecord]:
    """Record the commits of ``tables`` that no record tells of, and return the records; [] where there are none.

    A job that runs meanwhile and is about to record its own commit then has two records of it, which say the same.
    """
    newest = {table: lake.newest(table) for table in tables if lake.exists(table)}
    known = {(row.table, row.output_version, row.run_id) for row in commits_told(lake)} if newest else set()
    found = [record for table, last in newest.items() for record in _lost(lake, table, last, known)]
    append_records(lake, found)
    return found


def _lost(lake: Lake, table: str, newest: int, known: set[tuple[str, int, str]]) -> list[RunRecord]:
    records = []
    for version in range(newest, max(-1, newest - _VERSIONS), -1):
        info = commit_info(lake.spark, lake.path(table), version)
        said = signature_of(info)
        if "start_ds" in said and (table, version, said["run_id"]) not in known:
            records.append(_record(lake, table, version, said, info.get("operationMetrics", {})))
    return [record for record in records if record is not None]


def _record(lake: Lake, table: str, version: int, said: Signature, metrics: Mapping[str, str]) -> RunRecord | None:
    """From what the commit says of itself; None for one that holds other rows than were written: that would have been
    an error."""
    days = DateRange(said["start_ds"], said["end_ds"])
    # An OPTIMIZE writes none, as its record has it: those that are there stay.
    found = 0 if said["status"] == OPTIMIZED else rows_committed(lake, table, version, days, said["only"])
    # Where only rows of some values are replaced, Delta counts the others of their files as well.
    written = int(metrics.get("numOutputRows", 0))
    if found > written or (found < written and not said["only"]):
        return None
    return RunRecord(
        run_id=said["run_id"],
        job=said["job"],
        table=table,
        ds=days.start,
        end_ds=days.end,
        inputs=said["inputs"],
        output_version=version,
        rows_in=said["rows_in"],
        rows_out=found,
        rows_rejected=said["rows_rejected"],
        definition_hash=said["definition_hash"],
        config_hash=said["config_hash"],
        status=said["status"],
        started_at=datetime.fromisoformat(said["started_at"]),
        finished_at=committed_at(lake.spark, lake.path(table), version) or wall_clock(),
    )
