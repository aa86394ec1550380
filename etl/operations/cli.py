"""The verbs of operations: ``runs`` and ``lineage``."""

import argparse
from typing import TYPE_CHECKING, Any

from etl.contract.dates import DateRange, parse_ds
from etl.contract.errors import UsageError

if TYPE_CHECKING:
    from etl.cli import Context

LAST = 20


def add_verbs(subparsers: Any, add_days: Any) -> None:
    """Add the verbs to an argparse sub-parser collection; each sets ``run(args, context) -> dict``."""
    parser = subparsers.add_parser("runs", help="what ran: status, rows, versions, what failed and why")
    parser.add_argument("--table", metavar="T", help="runs of this table only")
    parser.add_argument("--last", type=int, default=LAST, metavar="N", help="the newest N records [%(default)s]")
    add_days(parser)
    parser.set_defaults(run=run_runs)
    parser = subparsers.add_parser("lineage", help="what a day of a table was made from, down to raw files")
    parser.add_argument("table", metavar="TABLE", help="a table of the lake")
    parser.add_argument("day", metavar="DS", help="the UTC day, yyyy-mm-dd")
    parser.set_defaults(run=run_lineage)


def run_runs(args: argparse.Namespace, context: "Context") -> dict[str, Any]:
    from etl.operations.audit import recorded_runs

    if args.last < 1:
        raise UsageError(f"--last {args.last}: at least 1")
    days = _days_or_all(args)
    records = recorded_runs(context.lake(), args.table, days, args.last)
    return {"runs": [record.plain() for record in records]}


def run_lineage(args: argparse.Namespace, context: "Context") -> dict[str, Any]:
    from etl.operations.lineage import lineage

    ds = str(parse_ds(args.day))
    return lineage(context.lake(), context.config, args.table, ds)


def _days_or_all(args: argparse.Namespace) -> DateRange | None:
    from etl.cli import days_of

    given = any(value is not None for value in (args.ds, args.start_ds, args.end_ds))
    return days_of(args) if given else None
