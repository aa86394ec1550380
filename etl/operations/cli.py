"""The verbs of operations: ``runs``, ``lineage``, ``monitor`` and ``maintain``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl.contract.dates import DateRange, parse_ds
from etl.contract.errors import UsageError
from etl.contract.paths import local_path

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
    parser = subparsers.add_parser("monitor", help="figures of each ds -> monitoring (exit code 3 if a gate fails)")
    parser.add_argument("--baseline", metavar="D", help="the day that PSI compares with [monitor.baseline_days before]")
    parser.add_argument(
        "--prometheus", type=local_path, metavar="FILE", help="also writes the newest day as Prometheus text"
    )
    add_days(parser)
    parser.set_defaults(run=run_monitor)
    parser = subparsers.add_parser("maintain", help="drop old days, cluster files by query, remove what nobody needs")
    parser.add_argument(
        "--ds", required=True, metavar="D", help="the newest day that retention counts from, yyyy-mm-dd"
    )
    kept = "models, exports or files for serving whose versions stay; beside maintain.keep"
    parser.add_argument("--keep", action="append", default=[], type=local_path, metavar="DIR", help=kept)
    parser.add_argument("--dry-run", action="store_true", help="change nothing, say what would go")
    parser.set_defaults(run=run_maintain)


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


def run_monitor(args: argparse.Namespace, context: "Context") -> dict[str, Any]:
    from etl.cli import days_of
    from etl.contract.publish import write_text
    from etl.operations.monitor import monitor
    from etl.operations.prometheus import prometheus_text

    days, baseline = days_of(args), None if args.baseline is None else str(parse_ds(args.baseline))
    found = monitor(context.lake(), context.config, days, baseline)
    if args.prometheus:
        write_text(args.prometheus, prometheus_text(found.figures))
    found.require_gates()
    return {
        "days": str(days),
        "figures": [vars(figure) for figure in found.figures],
        "warnings": list(found.warnings),
    }


def run_maintain(args: argparse.Namespace, context: "Context") -> dict[str, Any]:
    from etl.operations.maintain import maintain

    absent = [str(folder) for folder in args.keep if not folder.is_dir()]
    if absent:
        raise UsageError(f"--keep {', '.join(absent)}: no such folder, so what it needs is not known")
    folders = [*args.keep, *(Path(folder) for folder in context.config.maintain.keep)]
    done = maintain(context.lake(), context.config, str(parse_ds(args.ds)), folders, args.dry_run)
    tables = [upkeep.plain() for upkeep in done.tables]
    return {"dry_run": args.dry_run, "tables": tables, "missing": done.missing, "scored_parts": done.scored_parts}


def _days_or_all(args: argparse.Namespace) -> DateRange | None:
    from etl.cli import days_of

    given = any(value is not None for value in (args.ds, args.start_ds, args.end_ds))
    return days_of(args) if given else None
