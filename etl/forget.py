"""Forgetting a user: every day that holds rows of theirs is written again without them.

What was made from those days is then older than its source, so that ``plan`` lists it and ``backfill`` makes it again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, ranges_of, shift_ds
from etl.contract.settings import config_hash
from etl.events import REJECTED_KEY
from etl.lake import Lake
from etl.plan import read_history
from etl.recovery import record_lost_commits
from etl.runs import Run
from etl.scored_parts import remove_parts
from etl.write import Output, Written, replace_partitions

#: Tables with a user_id, each with the columns that place its rows.
HOLDERS = {
    c.EVENTS: ("query_key", "event_id"),
    c.EVENTS_REJECTED: REJECTED_KEY,
    c.CANDIDATES: ("request_id",),
    c.SCORES: ("model_version", "request_id"),
}


@dataclass(frozen=True)
class Forgotten:
    """What was written again, and all days whose interactions are older than their events."""

    written: list[Written]
    rows: int
    rebuild: list[DateRange]


def forget_user(lake: Lake, config: EtlConfig, user_id: str) -> Forgotten:
    """Remove a user's rows from every table that has a user_id, and all parts of days that ``score`` has kept aside.

    Earlier versions of tables keep them until ``maintain`` takes these away.
    """
    written, rows = [], 0
    record_lost_commits(lake, HOLDERS)
    for table in HOLDERS:
        if not lake.exists(table):
            continue
        theirs = lake.read(table).where(F.col("user_id") == user_id).groupBy("ds").count()
        held = {row.ds: row["count"] for row in theirs.toLocalIterator()}
        rows += sum(held.values())
        for span, hashed in _spans(lake, table, held):
            chunks = span.chunks(config.interactions.days_per_job)
            written += [_without(lake, config, table, days, hashed, user_id) for days in chunks]
    remove_parts(lake)
    return Forgotten(written, rows, _to_rebuild(lake, config))


def _without(lake: Lake, config: EtlConfig, table: str, days: DateRange, hashed: str, user_id: str) -> Written:
    frame = lake.read(table, days).where(~F.col("user_id").eqNullSafe(user_id))
    inputs = {table: lake.version(table)}
    run = Run(job="forget", config_hash=config_hash(config), definition_hash=hashed, inputs=inputs)
    [written] = replace_partitions(lake, [Output(table, frame, days, HOLDERS[table], read=inputs[table])], run)
    return written


def _spans(lake: Lake, table: str, held: dict[str, int]) -> Iterator[tuple[DateRange, str]]:
    """Runs of days that were made under one definition: forgetting changes none of it."""
    history = read_history(lake, (table,))[table]
    hashes = {ds: history[ds].definition_hash if ds in history else "" for ds in held}
    for hashed in sorted(set(hashes.values())):
        for days in ranges_of([ds for ds, one in hashes.items() if one == hashed]):
            yield days, hashed


def _to_rebuild(lake: Lake, config: EtlConfig) -> list[DateRange]:
    """Days whose partials were made from events as they were before, and built windows that hold one of them.

    Told by the history, not by what this run has written: a run before may have been killed on its way.
    """
    history = read_history(lake, (c.EVENTS, c.INTERACTIONS_DAILY, c.INTERACTIONS))
    events, partials = history[c.EVENTS], history[c.INTERACTIONS_DAILY].items()
    stale = [ds for ds, built in partials if ds in events and not built.has_seen(c.EVENTS, events[ds])]
    reach = config.interactions.longest_days
    held = {ds for day in stale for ds in DateRange(day, shift_ds(day, reach - 1))}
    return ranges_of([*stale, *(held & set(history[c.INTERACTIONS]))])
