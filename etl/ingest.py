"""The ingest job: a raw log replaces (or, late, joins) the events of its days; refused rows are kept with a reason."""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.caching import Cached
from etl.catalogues import GRAIN, grouped
from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, ranges_of
from etl.contract.settings import config_hash
from etl.definitions import definition_hash
from etl.errors import EmptyCatalogueError, EmptyInputError, OutdatedEventsError, RowBalanceError, TableColumnsError
from etl.events import (
    OUTSIDE,
    REASON,
    REASONS,
    REJECTED_KEY,
    accepted,
    first_of_each_id,
    rejected,
    typed_rows,
    without_bots,
)
from etl.lake import Lake
from etl.late import known_bots, new_refusals, not_delivered_before, recurring, with_stored
from etl.made_by import command_for
from etl.one_per_id import IdCounts, counts_of, kept_of
from etl.plan import read_history
from etl.quality.gate import gate
from etl.quality.profiles import Undated, profile, with_reject_shares
from etl.runs import RawInput, Run
from etl.sources.errors import InputError
from etl.write import Output, Written, replace_partitions


@dataclass(frozen=True)
class IngestReport:
    """Rows of one ingest; always in_range + stored == events + the sum of rejected.

    ``stored`` are the events that a late file joined, 0 otherwise. Rows delivered before are in no figure.
    """

    days: DateRange
    in_range: int
    outside_range: int
    stored: int
    events: int
    rejected: dict[str, int]

    def plain(self) -> dict[str, object]:
        return {**vars(self), "days": str(self.days)}


def ingest_events(
    lake: Lake, raw: DataFrame, config: EtlConfig, days: DateRange, source: str, append: bool = False,
    files: RawInput | None = None,
) -> IngestReport:  # fmt: skip
    """Write ``events`` and ``events_rejected`` of ``days`` from raw rows under our column names.

    Without ``append`` the input is the whole truth for these days; with it, rows join what is there by event_id.
    ``files`` are what ``source`` holds, for the run's record.
    Raises EmptyInputError when no row lies in the range, RowBalanceError or GateError before anything is published,
    TableColumnsError for stored events with columns that joining them would drop, OutdatedEventsError for such of
    another definition.
    """
    typed = typed_rows(raw, config.events, days)
    seen = {table: lake.seen(table) for table in (c.EVENTS, c.EVENTS_REJECTED)} if append else {}
    joins = seen.get(c.EVENTS, -1) >= 0
    if joins and (unknown := sorted(set(lake.read(c.EVENTS).columns) - set(c.ALWAYS_THERE[c.EVENTS]))):
        raise TableColumnsError(c.EVENTS, lake.path(c.EVENTS), [], unknown)
    if joins:
        _require_definition(lake, config, days)
    with Cached() as keep:
        new, rivals, bots = _joined(lake, typed, days, keep) if joins else (typed, typed, None)
        rows = keep(without_bots(keep(first_of_each_id(rivals, days)), config.events, bots))
        counts = _count(rows)
        read = new.count() if joins else raw.count()
        stored = lake.read(c.EVENTS, days).count() if joins else 0
        report = _balanced(counts, read, stored, days, source)
        run = Run(
            job="ingest",
            config_hash=config_hash(config),
            definition_hash=definition_hash(c.EVENTS, config),
            inputs=seen if joins else {},
            source=source,
            raw=files,
            rows_in=report.in_range,
            rows_rejected=sum(report.rejected.values()),
        )
        _publish(lake, rows, report, counts, config, run, seen)
    return report


def _joined(lake: Lake, typed: DataFrame, days: DateRange, keep: Cached) -> tuple[DataFrame, DataFrame, DataFrame]:
    """The rows that are new, these with the stored events that they compete with, and the bots that are known."""
    stored, typed = lake.read(c.EVENTS), keep(typed)
    # Counted for Spark to know how small the file is: then its ids go to the stored events, which stay where they are.
    typed.count()
    recur = keep(recurring(stored, typed))
    new = keep(not_delivered_before(typed, recur))
    return new, with_stored(new, stored, recur, days), known_bots(lake.read(c.EVENTS_REJECTED, days))


def _require_definition(lake: Lake, config: EtlConfig, days: DateRange) -> None:
    """Raise OutdatedEventsError if joining would record stored events as made under a definition that is not theirs."""
    expected = definition_hash(c.EVENTS, config)
    ingested = read_history(lake, (c.EVENTS,))[c.EVENTS]
    outdated = [ds for ds in days if ds in ingested and ingested[ds].definition_hash != expected]
    if outdated:
        spans = ranges_of(outdated)
        raise OutdatedEventsError([str(span) for span in spans], [command_for(c.EVENTS, span) for span in spans])


@dataclass(frozen=True)
class CatalogueReport:
    """Rows of one ingest of a catalogue or of candidate sets; always in_range == kept + without_id + repeated."""

    written: list[Written]
    counts: IdCounts

    def plain(self) -> dict[str, object]:
        return {"written": [{**vars(one), "days": str(one.days)} for one in self.written], **self.counts.plain()}


def ingest_catalogue(
    lake: Lake, raw: DataFrame, table: str, config: EtlConfig, days: DateRange, source: str,
    files: RawInput | None = None,
) -> CatalogueReport:  # fmt: skip
    """Write a snapshot of ``items`` or ``queries``, or the ``candidates``, of ``days`` (see etl.catalogues).

    Raises InputError for a missing column and for a request with several candidate sets on one day, EmptyCatalogueError
    when no row is left.
    """
    with Cached() as keep:
        rows = keep(grouped(raw, table, config, days, source))
        counts = counts_of(rows)
        if counts.differing:
            raise InputError(
                source,
                f"rows of one request name different items, for {counts.differing} requests ({counts.example} is one)",
                "write one row per request and day, with the list of its items; the tables are as they were",
            )
        if not counts.days:
            raise EmptyCatalogueError(
                source, table, GRAIN[table][0], str(days), counts.outside_range, counts.without_id
            )
        run = Run(
            job="ingest",
            config_hash=config_hash(config),
            source=source,
            raw=files,
            rows_in=counts.in_range,
            rows_rejected=counts.without_id + counts.repeated,
        )
        # Days between that the input says nothing of keep what they have.
        spans = ranges_of(list(counts.days))
        outputs = [Output(table, kept_of(rows), span, GRAIN[table]) for span in spans]
        return CatalogueReport(replace_partitions(lake, outputs, run), counts)


Counts = Mapping[tuple[str | None, str | None], int]
"""(ds or, without a timestamp, null; reason or null) -> rows."""


def _count(rows: DataFrame) -> Counts:
    own_ds = F.when(F.col("ts").isNotNull(), F.col("ds")).alias("ds")
    counted = rows.groupBy(own_ds, REASON).count()
    return {(row.ds, row[REASON]): row["count"] for row in counted.toLocalIterator()}


def _refused(counts: Counts, days: DateRange) -> tuple[dict[str, dict[str, int]], Undated]:
    """Refused rows by ds and reason, and those that no ds is known of."""
    by_ds: dict[str, dict[str, int]] = {}
    undated: dict[str, int] = {}
    for (ds, reason), rows in counts.items():
        if reason is not None and reason in REASONS:
            of_ds = undated if ds is None else by_ds.setdefault(ds, {})
            of_ds[reason] = rows
    return by_ds, Undated(days.start, undated, sum(rows for (ds, _), rows in counts.items() if ds is not None))


def _balanced(counts: Counts, read: int, stored: int, days: DateRange, source: str) -> IngestReport:
    """Account for every row of the input; RowBalanceError if one was lost or doubled on the way.

    ``read`` is counted on the input itself, ``counts`` on what became of it.
    """
    outside = sum(rows for (_, reason), rows in counts.items() if reason == OUTSIDE)
    kept = sum(rows for (_, reason), rows in counts.items() if reason is None)
    refused = {reason: sum(rows for (_, why), rows in counts.items() if why == reason) for reason in REASONS}
    refused = {reason: rows for reason, rows in refused.items() if rows}
    inside = read - outside
    if inside == 0 and not stored:
        raise EmptyInputError(source, str(days), outside)
    if inside + stored != kept + sum(refused.values()):
        raise RowBalanceError(source, inside + stored, kept, sum(refused.values()))
    return IngestReport(days, inside, outside, stored, kept, refused)


def _publish(
    lake: Lake, rows: DataFrame, report: IngestReport, counts: Counts, config: EtlConfig, run: Run,
    seen: Mapping[str, int],
) -> None:  # fmt: skip
    days = report.days
    events = accepted(rows)
    gate(c.EVENTS, with_reject_shares(profile(c.EVENTS, events, config), *_refused(counts, days)), config)
    refused = rejected(rows, run.run_id)
    if c.EVENTS_REJECTED in run.inputs:
        refused = new_refusals(refused, lake.read(c.EVENTS_REJECTED, days))
    outputs = [
        Output(c.EVENTS_REJECTED, refused, days, REJECTED_KEY, read=seen.get(c.EVENTS_REJECTED)),
        Output(c.EVENTS, events, days, ("query_key", "event_id"), read=seen.get(c.EVENTS)),
    ]
    replace_partitions(lake, outputs, run)
