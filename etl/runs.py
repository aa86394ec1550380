"""The audit trail: which job wrote which days of which table, from which versions, under which definition."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession

from etl.contract.dates import DateRange

SUCCEEDED = "succeeded"

SCHEMA = (
    "run_id string, job string, table string, ds string, end_ds string, inputs array<string>, output_version bigint, "
    "rows_in bigint, rows_out bigint, rows_rejected bigint, definition_hash string, config_hash string, status string, "
    "started_at timestamp, finished_at timestamp"
)


def wall_clock() -> datetime:
    """The time of day for run records; no value in any other table depends on it."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class RunRecord:
    """One row of ``runs``: one table written by one run. ``ds`` is the first day written."""

    run_id: str
    job: str
    table: str
    ds: str
    end_ds: str
    inputs: list[str]
    output_version: int
    rows_in: int
    rows_out: int
    rows_rejected: int
    definition_hash: str
    config_hash: str
    status: str
    started_at: datetime
    finished_at: datetime


@dataclass
class Run:
    """A job under way: everything of its records that is known before its tables are written."""

    job: str
    config_hash: str
    definition_hash: str = ""
    inputs: dict[str, int] = field(default_factory=dict)
    source: str = ""
    """The raw input, where there is one."""
    rows_in: int = 0
    rows_rejected: int = 0
    started_at: datetime = field(default_factory=wall_clock)
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def finished(self, table: str, days: DateRange, version: int, rows: int) -> RunRecord:
        inputs = [f"{name}@{pinned}" for name, pinned in sorted(self.inputs.items())]
        return RunRecord(
            run_id=self.run_id,
            job=self.job,
            table=table,
            ds=days.start,
            end_ds=days.end,
            inputs=inputs + ([self.source] if self.source else []),
            output_version=version,
            rows_in=self.rows_in,
            rows_out=rows,
            rows_rejected=self.rows_rejected,
            definition_hash=self.definition_hash,
            config_hash=self.config_hash,
            status=SUCCEEDED,
            started_at=self.started_at,
            finished_at=wall_clock(),
        )


def runs_frame(spark: SparkSession, records: list[RunRecord]) -> DataFrame:
    return spark.createDataFrame([tuple(vars(record).values()) for record in records], SCHEMA).coalesce(1)
