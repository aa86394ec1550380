"""A job that fails leaves a row in ``runs`` too, as far as that is possible."""

import argparse
from collections.abc import Callable
from datetime import datetime

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.contract.errors import PrerankError
from etl.contract.masking import masked_text
from etl.lake import Lake
from etl.operations.attempts import failure_of
from etl.runs import Run
from etl.write import append_records

#: The verbs that write tables, each with the table that it is about; None where the command line names it.
JOBS = {
    "ingest": None,
    "interactions": c.INTERACTIONS,
    "backfill": c.INTERACTIONS,
    "candidates": c.CANDIDATES,
    "embed": c.ITEM_VECTORS,
    "score": c.SCORES,
    "promote": c.MODELS,
    "forget": "",
    "monitor": c.MONITORING,
    "maintain": "",
}
_LONGEST = 1000


def record_failure(
    lake: Lake,
    args: argparse.Namespace,
    config_hash: str,
    started_at: datetime,
    error: Exception,
    mask: Callable[[str], str] = masked_text,
) -> BaseException | None:
    """Record that the job of a parsed command line ended with ``error``; returns what went wrong in doing so.

    ``mask`` takes secrets out of what the error says.

    A lake without ``runs`` gets one from a failed ingest only: any other verb was shown the wrong folder.
    """

    def write() -> None:
        if args.verb == "ingest" or lake.exists(c.RUNS):
            run = Run(args.verb, config_hash, source=getattr(args, "input", None) or "", started_at=started_at)
            table = JOBS[args.verb]
            table = args.table if table is None else table
            append_records(lake, [run.failed(table, _days(args), mask(first_line(error)))])

    return failure_of(write)


def first_line(error: BaseException) -> str:
    """What an error says in one line, with its kind where it is not one of ours; ours say it all."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
    return (" ".join(lines) if isinstance(error, PrerankError) else f"{type(error).__name__}: {lines[0]}")[:_LONGEST]


def _days(args: argparse.Namespace) -> DateRange | None:
    ends = getattr(args, "ds", None), getattr(args, "start_ds", None), getattr(args, "end_ds", None)
    if ends[0]:
        return DateRange(ends[0], ends[0])
    return DateRange(ends[1], ends[2]) if ends[1] and ends[2] else None
