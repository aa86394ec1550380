"""What happens when two jobs write one table: the loser of a commit tries again, and in the end says who won."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    DeltaConcurrentModificationException,
    MetadataChangedException,
    ProtocolChangedException,
)

from etl.contract.dates import DateRange
from etl.errors import ChangedMeanwhileError, WriteConflictError
from etl.lake import Lake, commit_info, latest_version
from etl.one_writer import described, one_writer
from etl.runs import Run, RunRecord

T = TypeVar("T")
Signature = dict[str, Any]
"""What a commit says of itself, as Delta's user metadata; JSON values."""

#: In Python, Delta's errors have no common class.
_LOST = (
    ConcurrentAppendException, ConcurrentDeleteDeleteException, ConcurrentDeleteReadException,
    ConcurrentTransactionException, ConcurrentWriteException, DeltaConcurrentModificationException,
    MetadataChangedException, ProtocolChangedException,
)  # fmt: skip
_LOG = logging.getLogger(__name__)
_ATTEMPTS = 5
_PAUSE_SECONDS = 2.0
#: Commits of these leave every row as it is.
_HARMLESS = ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES")


def signature(run: Run, days: DateRange, only: Mapping[str, str]) -> Signature:
    """Which run commits, which days it replaces (of rows with the values ``only``), and all that its record needs."""
    return {
        **_who(run), "start_ds": days.start, "end_ds": days.end, "only": dict(only), "status": run.outcome,
        "inputs": run.named_inputs, "rows_in": run.rows_in, "rows_rejected": run.rows_rejected,
        "definition_hash": run.definition_hash, "config_hash": run.config_hash,
    }  # fmt: skip


def teller(record: RunRecord) -> Signature:
    """Which run writes its records."""
    return _who(record)


def _who(run: Run | RunRecord) -> Signature:
    return {"run_id": run.run_id, "job": run.job, "started_at": run.started_at.isoformat()}


def settled(lake: Lake, table: str, own: Signature, commit: Callable[[], T]) -> T:
    """Call ``commit`` until no other job's commit of the same days comes in between, a few times at most.

    What it writes follows from versions that were pinned before, so that trying again changes no row. Raises
    WriteConflictError, which names the run that won, or TableBusyError where a lake on a local disk stays locked.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with one_writer(lake, table, own):
                return commit()
        except _LOST as error:
            winner = _described(lake, table, latest_version(lake.spark, lake.path(table)))
            if attempt == _ATTEMPTS:
                raise WriteConflictError(table, winner, attempt) from error
            _LOG.warning(
                "table '%s': %s committed first (%s); attempt %d of %d follows",
                table, winner, type(error).__name__, attempt + 1, _ATTEMPTS,
            )  # fmt: skip
            # Two that met once should not meet again: a share of the pause is the run's own.
            time.sleep(_PAUSE_SECONDS * (attempt + int(own["run_id"][:4], 16) / 0xFFFF))
    raise AssertionError("the last attempt returns or raises")


def require_unchanged(lake: Lake, table: str, own: Signature, read: int) -> None:
    """ChangedMeanwhileError if days that are about to be replaced were written after the version ``read``.

    For rows that were made from the table itself: to replace the days with them would undo the other job's work.
    """
    for version in range(latest_version(lake.spark, lake.path(table)), read, -1):
        info = commit_info(lake.spark, lake.path(table), version)
        theirs = signature_of(info)
        if theirs.get("run_id") == own["run_id"] or info.get("operation") in _HARMLESS:
            continue
        if _meets(theirs, own):
            days = DateRange(own["start_ds"], own["end_ds"])
            raise ChangedMeanwhileError(table, days, read, _described(lake, table, version))


def version_of(lake: Lake, table: str, own: Signature) -> int:
    """The newest version of ``table`` that a run has committed; later ones may be other jobs'."""
    newest = latest_version(lake.spark, lake.path(table))
    for version in range(newest, -1, -1):
        if _signature_at(lake, table, version).get("run_id") == own["run_id"]:
            return version
    return newest


class Recorded(Protocol):
    """A record of ``runs`` about a write, as far as its place in the order of all writes needs it."""

    @property
    def output_version(self) -> int | None: ...

    @property
    def run_id(self) -> str: ...


def came_after(lake: Lake, table: str, earlier: Recorded | None, later: Recorded) -> bool:
    """Whether ``earlier``, which was recorded before ``later``, came after it: the clock was put back, or both ran at
    the same time.

    Versions only grow, and a table that was made anew has another run's commit where its predecessor had this one.
    """
    if earlier is None or (version := earlier.output_version or 0) <= (later.output_version or 0):
        return False
    return _signature_at(lake, table, version).get("run_id") == earlier.run_id


def _meets(theirs: Signature, own: Signature) -> bool:
    """Whether two commits replace rows of the same days; one that says nothing of itself may."""
    if "start_ds" not in theirs:
        return True
    apart = theirs["end_ds"] < own["start_ds"] or own["end_ds"] < theirs["start_ds"]
    both = theirs["only"].keys() & own["only"].keys()
    return not apart and all(theirs["only"][name] == own["only"][name] for name in both)


def _described(lake: Lake, table: str, version: int) -> str:
    theirs = _signature_at(lake, table, version)
    return described(theirs) if theirs else "another job"


def _signature_at(lake: Lake, table: str, version: int) -> Signature:
    return signature_of(commit_info(lake.spark, lake.path(table), version))


def signature_of(info: Mapping[str, Any]) -> Signature:
    """What a commit says of itself, by its entry in Delta's log; {} of commits that others made."""
    try:
        known = json.loads(info.get("userMetadata") or "{}")
    except ValueError:
        return {}
    return known if isinstance(known, dict) else {}
