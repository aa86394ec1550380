"""What one day of a table was made from: the versions of every input, down to the raw files.

A tree of plain values. A ``table`` node is a version with the days that count, below it the runs that wrote these
days last; a ``run`` node has its inputs below it; an ``export``, ``model`` or ``serving`` node is a directory with what
its manifest says that it was made from; a ``raw`` node is a raw input as it was listed. What has been taken apart
before is not taken apart again (``repeated``).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyspark.sql import functions as F

from etl.commit_order import in_commit_order
from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.lake import Lake
from etl.operations.audit import records_of, runs_table
from etl.operations.errors import UnknownRunError
from etl.operations.reach import SNAPSHOTS, days_behind
from etl.operations.references import reference_of
from etl.runs import DROPPED, SUCCEEDED, RunRecord, pinned_inputs

Node = dict[str, Any]

#: A run replaces only the rows of its own model version, which it has for a definition.
_BY_DEFINITION = (c.SCORES, c.ITEM_VECTORS, c.MODELS)


def lineage(lake: Lake, config: EtlConfig, table: str, ds: str) -> Node:
    """The tree of ``ds`` in the newest version of ``table``.

    Raises MissingDataError without the table or ``runs``, UnknownRunError if no run is recorded that wrote the day.
    """
    tree = _Lineage(lake, config).table(table, lake.version(table), DateRange(ds, ds))
    if not tree["from"]:
        raise UnknownRunError(table, ds, lake.path(c.RUNS))
    return tree


class _Lineage:
    def __init__(self, lake: Lake, config: EtlConfig):
        self.lake, self.config = lake, config
        self.written: dict[str, list[RunRecord]] = {}
        self.seen: set[tuple[str, str]] = set()

    def table(self, table: str, version: int, days: DateRange) -> Node:
        writers = last_writers(self.writes_of(table), version, days, table in SNAPSHOTS)
        below = [self._run(record, written) for record, written in writers]
        return {"kind": "table", "table": table, "version": version, "days": str(days), "from": below}

    def writes_of(self, table: str) -> list[RunRecord]:
        """Writes of a table that stand, the oldest first; read when first asked for."""
        if table not in self.written:
            runs = runs_table(self.lake).where((F.col("table") == table) & (F.col("status").isin(SUCCEEDED, DROPPED)))
            records = records_of(runs.orderBy("finished_at", "output_version"))
            self.written[table] = in_commit_order(self.lake, table, records)
        return self.written[table]

    def _run(self, record: RunRecord, days: DateRange) -> Node:
        node: Node = {
            "kind": "run", "run_id": record.run_id, "job": record.job, "table": record.table, "days": str(days),
            "output_version": record.output_version, "rows": record.rows_out,
            "definition_hash": record.definition_hash, "config_hash": record.config_hash,
            "finished_at": record.finished_at.isoformat(),
        }  # fmt: skip
        if self._repeated(f"{record.run_id} {record.table}", days):
            return {**node, "repeated": True, "from": []}
        below = self._tables(record.table, pinned_inputs(record.inputs), days)
        return {**node, "from": below + self._source(record)}

    def _tables(self, made: str, versions: dict[str, int], days: DateRange) -> list[Node]:
        # What runs say of themselves is no data that anything was made from.
        return [
            self.table(source, version, days_behind(made, source, days, self.config))
            for source, version in sorted(versions.items())
            if source != c.RUNS
        ]

    def _source(self, record: RunRecord) -> list[Node]:
        """The raw input or the directory that a run names beside its tables."""
        if record.raw is not None:
            return [{"kind": "raw", **record.raw.plain()}]
        pinned = pinned_inputs(record.inputs)
        places = [entry for entry in record.inputs if entry.rpartition("@")[0] not in pinned]
        return [self._directory(place) for place in places]

    def _directory(self, place: str) -> Node:
        reference = reference_of(Path(place))
        if reference is None:
            return {"kind": "raw", "path": place}
        node: Node = {"kind": reference.kind, "path": place}
        if not reference.start_ds:
            versions = [{"kind": "table", "table": t, "version": v, "from": []} for t, v in reference.versions.items()]
            return {**node, "from": versions}
        days = DateRange(reference.start_ds, reference.end_ds)
        if self._repeated(place, days):
            return {**node, "days": str(days), "repeated": True, "from": []}
        return {**node, "days": str(days), "from": self._tables(reference.kind, reference.versions, days)}

    def _repeated(self, what: str, days: DateRange) -> bool:
        key = (what, str(days))
        known = key in self.seen
        self.seen.add(key)
        return known


def last_writers(
    writes: Iterable[RunRecord], version: int, days: DateRange, snapshots: bool = False
) -> list[tuple[RunRecord, DateRange]]:
    """The runs that wrote ``days`` last as of a version, each with the span of the days that are still its own.

    ``writes`` are one table's, in the order of their commits. Of ``snapshots`` only the newest day counts.
    """
    last: dict[tuple[str, str], RunRecord] = {}
    for record in writes:
        if record.output_version is None or record.output_version > version:
            continue
        if record.end_ds < days.start or record.ds > days.end:
            continue
        met = DateRange(max(record.ds, days.start), min(record.end_ds, days.end))
        if record.status == DROPPED:
            last = {key: earlier for key, earlier in last.items() if key[0] not in met}
            continue
        part = record.definition_hash if record.table in _BY_DEFINITION else ""
        last |= {(ds, part): record for ds in met}
    if snapshots and last:
        newest = max(ds for ds, _ in last)
        last = {key: record for key, record in last.items() if key[0] == newest}
    spans: dict[tuple[str, int | None], tuple[RunRecord, list[str]]] = {}
    for (ds, _), record in sorted(last.items(), key=lambda entry: entry[0]):
        spans.setdefault((record.run_id, record.output_version), (record, []))[1].append(ds)
    return [(record, DateRange(held[0], held[-1])) for record, held in spans.values()]
