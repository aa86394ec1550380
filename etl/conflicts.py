"""What happens when two jobs write one table: the loser of a commit tries again, and in the end says who won."""

import json
import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

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
from etl.delta_log import commit_info
from etl.lake import Lake
from etl.one_writer import described, one_writer
from etl.runs import Run, RunRecord
from etl.write_errors import ChangedMeanwhileError, LostCommitError, WriteConflictError

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
            winner = _described(lake, table, lake.newest(table))
            if attempt == _ATTEMPTS:
                raise WriteConflictError(table, winner, attempt) from error
            _LOG.warning(
                "table '%s': %s committed first (%s); attempt %d of %d follows",
                table, winner, type(error).__name__, attempt + 1, _ATTEMPTS,
            )  # fmt: skip
            # Two that met once should not meet again: a share of the pause is the run's own.
            time.sleep(_PAUSE_SECONDS * (attempt + int(own["run_id"][:4], 16) / 0xFFFF))
    raise AssertionError("the last attempt returns or raises")


def require_unchanged(
    lake: Lake, table: str, own: Signature, read: int, until: int | None = None, ours: Collection[str] = ()
) -> None:
    """ChangedMeanwhileError if others wrote days of ``own`` after the version ``read``, -1 if there was no table.

    For rows that were made from these days: to write them would undo or forget the other job's work. ``until`` is the
    last version that counts, the newest one if None; ``ours`` are runs that belong to this one.
    """
    newest = (lake.newest(table) if lake.exists(table) else -1) if until is None else until
    for version in range(newest, read, -1):
        info = commit_info(lake.spark, lake.path(table), version)
        theirs = signature_of(info)
        if theirs.get("run_id") in (own["run_id"], *ours) or info.get("operation") in _HARMLESS:
            continue
        if _meets(theirs, own):
            days = DateRange(own["start_ds"], own["end_ds"])
            raise ChangedMeanwhileError(table, days, read, _described(lake, table, version))


def own_version(lake: Lake, table: str, own: Signature) -> int:
    """The newest version of ``table`` that a run has committed; later ones may be other jobs'."""
    for version in range(lake.newest(table), -1, -1):
        if _signature_at(lake, table, version).get("run_id") == own["run_id"]:
            return version
    raise LostCommitError(table, lake.path(table), own["run_id"])


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
