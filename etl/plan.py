"""What is fresh, missing or stale, per table and ds, and why.

A (table, ds) is judged by its last run record: the definition hash that it was built under, and the version of each
source at that moment against the version in which each source day last changed.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pyspark.sql import Row

from etl.commit_order import in_commit_order
from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.definitions import definition_hash
from etl.errors import MissingDataError, OutdatedTableError
from etl.lake import Lake
from etl.records import commits_told
from etl.runs import DROPPED, SUCCEEDED, pinned_inputs
from etl.tiles import TILE_DAYS, cover, table_of

#: Written by the same runs and not planned: where its end is lost, so is what its table counts as built.
_BESIDE = {c.INTERACTIONS_DAILY: table_of(1), c.INTERACTIONS: c.QUERY_ITEMS}

FRESH, MISSING, STALE = "fresh", "missing", "stale"

#: The daily partials.
DAILY = (c.INTERACTIONS_DAILY, c.QUERIES_DAILY)
#: Tiles of several days; those of one day are written with ``interactions_daily`` and stand and fall with it.
TILES = tuple(table_of(length) for length in TILE_DAYS[1:])
#: Derived tables in the order in which they are built, each with its sources.
DERIVED = {
    c.INTERACTIONS_DAILY: (c.EVENTS,),
    c.QUERIES_DAILY: (c.EVENTS,),
    **dict.fromkeys(TILES, (c.INTERACTIONS_DAILY,)),
    c.INTERACTIONS: (c.INTERACTIONS_DAILY,),
}


@dataclass(frozen=True)
class Built:
    """The last successful write of one (table, ds)."""

    version: int
    definition_hash: str
    inputs: Mapping[str, int]
    told: int = 0
    """When ``runs`` was told, in microseconds."""
    anew: bool = False
    """Whether the table was made anew once or lost commits: then a version has been, or is, more than one commit."""

    def has_seen(self, source: str, write: "Built") -> bool:
        """Whether this was built from what ``write`` put into ``source``."""
        return write.version <= self.inputs.get(source, -1) and not (write.anew and write.told > self.told)


@dataclass(frozen=True)
class Step:
    """The state of one (table, ds); anything but fresh is to be built."""

    table: str
    ds: str
    state: str
    reason: str


History = Mapping[str, Mapping[str, Built]]
"""table -> ds -> its last write."""


def plan(
    history: History, config: EtlConfig, days: DateRange, again: bool = False, partials_again: bool = False
) -> list[Step]:
    """Judge every derived table for ``days``, and the partials and tiles that their windows are summed from.

    Days of ``days`` that were never ingested, or under another definition, appear as such: only their raw log can mend
    them. The days before them, that their windows reach back to, appear where they were ingested; tiles appear where
    a window that is not fresh reads them. ``again`` is for windows that are to be built whatever their state,
    ``partials_again`` for the partials of ``days``.
    """
    edges = config.interactions.edges_days
    before = config.interactions.longest_days - 1
    reach = days.widen(before)
    ingested = history.get(c.EVENTS, {})
    steps = [_judge_events(ds, ingested.get(ds), config) for ds in days]
    for table in DAILY:
        steps += [_judge(table, DateRange(ds, ds), history, config, steps) for ds in reach if ds in ingested]
        left = history.get(table, {}).keys() - ingested.keys()
        steps += [step for ds in reach if ds in left and (step := _judge_left(table, ds, history, config))]
    if partials_again:
        steps = [_asked_for(step) if step.ds in days and step.table != c.EVENTS else step for step in steps]
    spans = [DateRange(ds, ds).widen(before) for ds in days if ds in ingested]
    ends = [_judge(c.INTERACTIONS, span, history, config, steps) for span in spans]
    if again:
        ends = [_asked_for(step) for step in ends]
    parts = {part for step in ends if step.state != FRESH for part in cover(step.ds, edges) if len(part) > 1}
    for length, table in zip(TILE_DAYS[1:], TILES, strict=True):
        whole = sorted((part for part in parts if len(part) == length), key=lambda part: part.start)
        steps += [_judge(table, part, history, config, steps) for part in whole]
    return steps + ends


def _asked_for(step: Step) -> Step:
    return replace(step, state=STALE, reason="asked for") if step.state == FRESH else step


def read_history(lake: Lake, tables: Iterable[str]) -> History:
    """The last write of every (table, ds), from ``runs``."""
    history: dict[str, dict[str, Built]] = {table: {} for table in tables}
    recorded = _recorded(lake, history.keys() | {_BESIDE[table] for table in history if table in _BESIDE})
    standing = {table: in_commit_order(lake, table, rows) for table, rows in recorded.items()}
    for table, of_table in history.items():
        told, there = recorded.get(table, []), standing.get(table, [])
        anew = len(there) < len(told)
        beside = _BESIDE.get(table, "")
        other_half = {ds: row.run_id for ds, row in _last_writes(standing.get(beside, ())).items()}
        writes_both = {row.run_id for row in recorded.get(beside, ())}
        lost = set(_lost(told, there))
        for ds, row in _last_writes(there).items():
            torn = row.run_id in writes_both and other_half.get(ds) != row.run_id
            if row.status != DROPPED and not torn and ds not in lost:
                inputs = pinned_inputs(row.inputs)
                of_table[ds] = Built(row.output_version, row.definition_hash, inputs, row.finished, anew)
    return history


def _last_writes(rows: Iterable[Row]) -> dict[str, Row]:
    """By day, of records in the order of their commits."""
    return {ds: row for row in rows for ds in DateRange(row.ds, row.end_ds)}


def _lost(recorded: Iterable[Row], standing: Iterable[Row]) -> Iterator[str]:
    """Days whose last write is told of and no longer there: what stands is older than what was meant to."""
    there = {(row.run_id, row.output_version) for row in standing}
    return (ds for ds, row in _last_writes(recorded).items() if (row.run_id, row.output_version) not in there)


def _recorded(lake: Lake, tables: Collection[str]) -> dict[str, list[Row]]:
    """What ``runs`` says of the writes of ``tables``, in the order in which it was told."""
    recorded: dict[str, list[Row]] = {}
    for row in commits_told(lake):
        if row.table in tables and row.status in (SUCCEEDED, DROPPED):
            recorded.setdefault(row.table, []).append(row)
    return recorded


def lake_plan(lake: Lake, config: EtlConfig, days: DateRange) -> list[Step]:
    return plan(read_history(lake, (c.EVENTS, *DERIVED)), config, days)


def require_source(lake: Lake, table: str, days: DateRange) -> None:
    """Raise MissingDataError unless every day of ``days`` was written to ``table`` once, if only as an empty day."""
    require_written(read_history(lake, (table,)), lake, table, days)


def require_written(history: History, lake: Lake, table: str, days: DateRange) -> None:
    """As require_source, of a history that was read before."""
    if not lake.exists(table):
        raise MissingDataError(table, None, lake.path(table))
    missing = [ds for ds in days if ds not in history[table]]
    if missing:
        raise MissingDataError(table, DateRange(missing[0], missing[-1]), lake.path(table))


def require_current(lake: Lake, config: EtlConfig, table: str, days: DateRange) -> None:
    """As require_source, and raise OutdatedTableError if a day was built under another definition."""
    history = read_history(lake, (table,))
    require_written(history, lake, table, days)
    expected = definition_hash(table, config)
    outdated = [ds for ds in days if history[table][ds].definition_hash != expected]
    if outdated:
        raise OutdatedTableError(table, DateRange(outdated[0], outdated[-1]))


def _judge(table: str, span: DateRange, history: History, config: EtlConfig, earlier: list[Step]) -> Step:
    """The state of a table's rows that are made from the days of ``span``.

    Tiles stand under the first of their days, everything else under the last.
    """
    ds = span.start if table in TILES else span.end
    built = history.get(table, {}).get(ds)
    if built is None:
        return Step(table, ds, MISSING, "never built")
    if built.definition_hash != definition_hash(table, config):
        return Step(table, ds, STALE, "its definition changed")
    for source in DERIVED[table]:
        for day in span:
            changed = history.get(source, {}).get(day)
            if changed is not None and not built.has_seen(source, changed):
                seen = built.inputs.get(source, -1)
                reason = f"{source} of {day} changed: version {changed.version}, built from {seen}"
                return Step(table, ds, STALE, reason)
    for step in earlier:
        if step.state != FRESH and step.table in DERIVED[table] and step.ds in span:
            return Step(table, ds, STALE, f"{step.table} of {step.ds} will be rebuilt")
    return Step(table, ds, FRESH, "built from the newest inputs")


def _judge_left(table: str, ds: str, history: History, config: EtlConfig) -> Step | None:
    """The state of a partial whose events are gone: it serves as long as its definition does."""
    if history[table][ds].definition_hash == definition_hash(table, config):
        return None
    return Step(table, ds, STALE, "its definition changed, and its events are gone")


def _judge_events(ds: str, built: Built | None, config: EtlConfig) -> Step:
    if built is None:
        return Step(c.EVENTS, ds, MISSING, "never ingested: prerank ingest")
    if built.definition_hash != definition_hash(c.EVENTS, config):
        return Step(c.EVENTS, ds, STALE, "its definition changed: prerank ingest again")
    return Step(c.EVENTS, ds, FRESH, "ingested")
