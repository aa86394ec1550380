"""The audit trail: which job wrote which days of which table, from which versions, under which definition."""

import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession

from etl.contract.dates import DateRange
from etl.contract.masking import masked_text

#: ``failed`` runs wrote nothing that counts; ``dropped`` days were taken away by retention and count as never written;
#: ``optimized`` ones hold the same rows in other files.
SUCCEEDED, FAILED, DROPPED, OPTIMIZED = "succeeded", "failed", "dropped", "optimized"

#: A table at a version, under a name that a table can have (see etl.lake): /data/log@12 is a path.
_PINNED = re.compile(r"([a-z][a-z0-9_]{0,63})@(\d+)")
_FILE = "path string, bytes bigint, modified_at timestamp"
SCHEMA = (
    "run_id string, job string, table string, ds string, end_ds string, inputs array<string>, output_version bigint, "
    "rows_in bigint, rows_out bigint, rows_rejected bigint, definition_hash string, config_hash string, status string, "
    "started_at timestamp, finished_at timestamp, error string, raw struct<path string, files bigint, bytes bigint, "
    f"modified_at timestamp, digest string, listed array<struct<{_FILE}>>>"
)


def wall_clock() -> datetime:
    """The time of day for run records and the age of files; no value in any other table depends on it."""
    return datetime.now(UTC)


class RawFile(NamedTuple):
    path: str
    bytes: int
    modified_at: datetime


class RawInput(NamedTuple):
    """What a raw input held when it was read."""

    path: str
    files: int
    bytes: int
    modified_at: datetime
    """Of the newest file."""
    digest: str
    """Of every file's name, size and time of change: equal ones listed the same files."""
    listed: list[RawFile]
    """The first files by name; all of them unless they are very many."""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        listed = [{**file._asdict(), "modified_at": file.modified_at.isoformat()} for file in self.listed]
        return {**self._asdict(), "modified_at": self.modified_at.isoformat(), "listed": listed}


@dataclass(frozen=True)
class RunRecord:
    """One row of ``runs``: one table written by one run, or one job that failed.

    ``ds`` is the first day written. A failed job has no output version, and names table and days as far as its command
    line did.
    """

    run_id: str
    job: str
    table: str
    ds: str
    end_ds: str
    inputs: list[str]
    output_version: int | None
    rows_in: int
    rows_out: int
    rows_rejected: int
    definition_hash: str
    config_hash: str
    status: str
    started_at: datetime
    finished_at: datetime
    error: str | None = None
    """The first line of what a failed job said."""
    raw: RawInput | None = None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        plain = {**vars(self), "started_at": self.started_at.isoformat(), "finished_at": self.finished_at.isoformat()}
        if self.raw is not None:
            plain["raw"] = self.raw.plain()
        return plain


@dataclass
class Run:
    """A job under way: everything of its records that is known before its tables are written."""

    job: str
    config_hash: str
    definition_hash: str = ""
    inputs: dict[str, int] = field(default_factory=dict)
    source: str = ""
    """The raw input, where there is one."""
    raw: RawInput | None = None
    """What ``source`` held, where it is files."""
    outcome: str = SUCCEEDED
    """The status of what it finishes."""
    rows_in: int = 0
    rows_rejected: int = 0
    started_at: datetime = field(default_factory=wall_clock)
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def named_inputs(self) -> list[str]:
        """As records have them."""
        inputs = [f"{name}@{pinned}" for name, pinned in sorted(self.inputs.items())]
        return inputs + ([masked_text(self.source)] if self.source else [])

    def finished(self, table: str, days: DateRange, version: int, rows: int) -> RunRecord:
        return self._record(table, days.start, days.end, version, rows, self.outcome, None)

    def failed(self, table: str, days: DateRange | None, error: str) -> RunRecord:
        start, end = ("", "") if days is None else (days.start, days.end)
        return self._record(table, start, end, None, 0, FAILED, error)

    def _record(
        self, table: str, ds: str, end_ds: str, version: int | None, rows: int, status: str, error: str | None
    ) -> RunRecord:
        return RunRecord(
            run_id=self.run_id,
            job=self.job,
            table=table,
            ds=ds,
            end_ds=end_ds,
            inputs=self.named_inputs,
            output_version=version,
            rows_in=self.rows_in,
            rows_out=rows,
            rows_rejected=self.rows_rejected,
            definition_hash=self.definition_hash,
            config_hash=self.config_hash,
            status=status,
            started_at=self.started_at,
            finished_at=wall_clock(),
            error=error,
            raw=self.raw,
        )


def pinned_inputs(inputs: list[str]) -> dict[str, int]:
    """table -> version of the inputs of a record that are tables; the others are raw inputs and directories."""
    found = map(_PINNED.fullmatch, inputs)
    return {one[1]: int(one[2]) for one in found if one}


def runs_frame(spark: SparkSession, records: list[RunRecord]) -> DataFrame:
    return spark.createDataFrame([tuple(vars(record).values()) for record in records], SCHEMA).coalesce(1)
