"""The verbs of etl. Spark is imported when a verb runs, not when help is printed."""

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.contract.errors import UsageError
from etl.contract.paths import local_path
from etl.movielens.config import PROTOCOLS, SPLIT_KINDS, MovieLensConfig
from etl.operations import cli as operations_cli
from etl.simulate.config import EFFECTS
from etl.sources import SOURCES, Source

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from etl.lake import Lake

T = TypeVar("T")
SIMULATED_DAYS = DateRange("2026-01-01", "2026-01-21")


class Context(Protocol):
    """What a verb needs of the program."""

    @property
    def config(self) -> EtlConfig: ...

    def lake(self, gated: bool = False) -> "Lake":
        """The configured lake with fresh pins, in the program's Spark session; ``gated`` for verbs with a gate."""

    def track(self, iterable: Iterable[T], description: str, total: int, /) -> Iterable[T]:
        """Wrap an iterable in a progress bar."""

    def log(self, message: str) -> None:
        """One line to stderr."""


def add_verbs(subparsers: Any) -> None:
    """Add the verbs to an argparse sub-parser collection; each sets ``run(args, context) -> dict``."""
    _add_simulate(subparsers)
    _add_ingest(subparsers)
    parser = subparsers.add_parser("interactions", help="events -> daily partials -> windowed interactions of each ds")
    parser.add_argument("--again", action="store_true", help="the partials of these days too, though they are fresh")
    add_days(parser)
    parser.set_defaults(run=run_interactions)
    parser = subparsers.add_parser("export", help="point-in-time training data of a range of days")
    parser.add_argument("--out", required=True, type=local_path, metavar="DIR", help="the export directory")
    parser.add_argument("--truth", metavar="DIR", help="a simulated log's truth: adds the oracle's column")
    parser.add_argument(
        "--baseline", type=local_path, metavar="DIR", help="an earlier export: reports how features drifted"
    )
    add_days(parser)
    parser.set_defaults(run=run_export)
    _add_movielens(subparsers)
    parser = subparsers.add_parser("plan", help="what is fresh, missing or stale per table and ds, and why")
    add_days(parser)
    parser.set_defaults(run=run_plan)
    parser = subparsers.add_parser("backfill", help="build what plan lists as missing or stale")
    add_days(parser)
    parser.set_defaults(run=run_backfill)
    parser = subparsers.add_parser("check", help="run the quality gate of a table (exit code 3 if it fails)")
    parser.add_argument("--table", choices=(c.EVENTS, c.INTERACTIONS, c.ITEMS, c.QUERIES, c.CANDIDATES, c.SCORES),
                        action="append", help="the table, or several [events and interactions]")  # fmt: skip
    _add_leaks(parser)
    add_days(parser)
    parser.set_defaults(run=run_check)
    parser = subparsers.add_parser("forget", help="remove a user from every table, and say what to rebuild")
    parser.add_argument("--user", required=True, metavar="ID", help="the user_id")
    parser.set_defaults(run=run_forget)
    operations_cli.add_verbs(subparsers, add_days)


def add_days(parser: argparse.ArgumentParser) -> None:
    """``--ds D``, or ``--start-ds A --end-ds B``."""
    days = parser.add_argument_group("days", "UTC days, yyyy-mm-dd; ranges include both ends")
    days.add_argument("--ds", metavar="D", help="one day")
    days.add_argument("--start-ds", metavar="A", help="first day of a range")
    days.add_argument("--end-ds", metavar="B", help="last day of a range")


def days_of(args: argparse.Namespace, default: DateRange | None = None) -> DateRange:
    """The days that a command line asks for; UsageError unless it is one day or one range."""
    given = (args.ds is not None, args.start_ds is not None, args.end_ds is not None)
    if given == (True, False, False):
        return DateRange(args.ds, args.ds)
    if given == (False, True, True):
        return DateRange(args.start_ds, args.end_ds)
    if given == (False, False, False) and default is not None:
        return default
    raise UsageError("which days? Give --ds D, or --start-ds A with --end-ds B (yyyy-mm-dd, both inclusive, UTC)")


def day_of(args: argparse.Namespace, what: str) -> str:
    """The one day that a command line asks for; UsageError for a range, ``what`` being done for one day only."""
    days = days_of(args)
    if len(days) != 1:
        raise UsageError(f"{what} one day: give --ds, not the range {days}")
    return days.start


def _add_simulate(subparsers: Any) -> None:
    parser = subparsers.add_parser("simulate", help="write a raw search log with known truth")
    parser.add_argument("--out", required=True, metavar="DIR", help="gets events, items, candidates, truth (Parquet)")
    parser.add_argument("--events", type=int, default=1_000_000, metavar="N", help="raw rows, about [%(default)s]")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="same seed, same log [%(default)s]")
    parser.add_argument("--without", choices=sorted(EFFECTS), action="append", default=[], metavar="EFFECT",
                        help=f"take an effect away: {', '.join(sorted(EFFECTS))}; repeatable")  # fmt: skip
    add_days(parser)
    parser.epilog = f"Without days: {SIMULATED_DAYS}."
    parser.set_defaults(run=run_simulate)


def _add_ingest(subparsers: Any) -> None:
    parser = subparsers.add_parser("ingest", help="raw log -> events, or a catalogue or candidate sets with --table")
    parser.add_argument("--source", required=True, choices=tuple(SOURCES), help="how the raw data is laid out")
    parser.add_argument("--input", metavar="PATH", help="a file, a folder or a glob; complete-journey brings its own")
    parser.add_argument("--table", choices=(c.EVENTS, c.ITEMS, c.QUERIES, c.CANDIDATES), default=c.EVENTS,
                        help="what the rows are [%(default)s]")  # fmt: skip
    parser.add_argument("--append", action="store_true", help="late files: join the days that are there, by event_id")
    add_days(parser)
    parser.set_defaults(run=run_ingest)


def _add_movielens(subparsers: Any) -> None:
    parser = subparsers.add_parser("movielens", help="MovieLens ratings -> an export to compare models on; no lake")
    parser.add_argument("--input", required=True, type=local_path, metavar="PATH",
                        help="a folder: GroupLens' ml-100k or ml-1m, or RecBole's atomic files")  # fmt: skip
    parser.add_argument("--out", required=True, type=local_path, metavar="DIR", help="the export directory")
    parser.add_argument("--protocol", choices=PROTOCOLS, default=MovieLensConfig.protocol,
                        help="published_with_leak only lines up with published tables [%(default)s]")  # fmt: skip
    parser.add_argument("--split", choices=SPLIT_KINDS, default=MovieLensConfig.split, help="how to cut [%(default)s]")
    parser.add_argument(
        "--seed", type=int, default=MovieLensConfig.seed, metavar="S", help="of the random cut [%(default)s]"
    )
    parser.add_argument("--means", action="store_true", help="means of earlier labels as cross features")
    parser.add_argument("--titles", action="store_true", help="titles as the items' text")
    parser.set_defaults(run=run_movielens)


def _add_leaks(parser: argparse.ArgumentParser) -> None:
    """The flags of ``check --leaks``: None where not given, so that they can be refused without --leaks."""
    leaks = parser.add_argument_group("leaks", "does any feature of an export of these days know the future?")
    leaks.add_argument("--leaks", action="store_true", help="change what comes after a cut; no row before may move")
    leaks.add_argument("--cut", metavar="D", help="the day of the cut [the middle one]")
    leaks.add_argument("--seed", type=int, metavar="S", help="of the sample and of the changes [1]")
    leaks.add_argument("--sample-requests", type=int, metavar="N", help="about so many, of whole queries [20000]")
    leaks.add_argument(
        "--scratch", type=local_path, metavar="DIR", help="for the copies, removed again [a temporary folder]"
    )


def run_simulate(args: argparse.Namespace, context: Context) -> dict[str, Any]:
    from etl.lake import absolute
    from etl.simulate.config import SimulateConfig
    from etl.simulate.job import simulate

    knobs = SimulateConfig().without(*args.without)
    days = days_of(args, default=SIMULATED_DAYS)
    report = simulate(context.lake().spark, absolute(args.out), args.events, args.seed, days, knobs)
    return {**vars(report), "dates": str(report.dates)}


def run_ingest(args: argparse.Namespace, context: Context) -> dict[str, Any]:
    from etl.ingest import ingest_catalogue, ingest_events
    from etl.lake import absolute
    from etl.sources import get_source
    from etl.sources.columns import idle_renames
    from etl.sources.listing import raw_input

    days = days_of(args)
    source = get_source(args.source)
    if source.needs_input and not args.input:
        raise UsageError(f"--source {args.source} needs --input PATH: a file, a folder or a glob")
    if args.append and args.table != c.EVENTS:
        raise UsageError(f"--append joins late events; '{args.table}' is replaced whole: leave --append out")
    lake = context.lake(gated=args.table == c.EVENTS)
    path = absolute(args.input) if args.input else None
    raw = _read_raw(source, lake.spark, path, args.table, context.config, days)
    origin, files = args.input or args.source, raw_input(lake.spark, path) if path else None
    if args.table == c.EVENTS:
        events, items = context.config.events, context.config.items
        described = (*items.text, *items.categories, *items.numerics, *items.dense)
        if idle := idle_renames(raw.columns, events.columns, events.segments, described):
            context.log(f"{origin}: events.columns has renames without effect: {', '.join(idle)}")
        return ingest_events(lake, raw, context.config, days, origin, args.append, files).plain()
    report = ingest_catalogue(lake, raw, args.table, context.config, days, origin, files)
    if left_out := report.counts.left_out():
        context.log(f"{origin}: rows that are not in '{args.table}': {left_out}")
    return report.plain()


def _read_raw(
    source: Source, spark: "SparkSession", path: str | None, table: str, config: EtlConfig, days: DateRange
) -> "DataFrame":
    """Renames are for the raw log; candidate sets and catalogues have our names, or the log's where ours are absent."""
    from etl.sources.errors import MissingColumnsError

    renames = config.events.columns
    segments = config.events.segments if table in (c.EVENTS, c.CANDIDATES) else ()
    first = renames if table == c.EVENTS else {ours: theirs for ours, theirs in renames.items() if ours in segments}
    try:
        return source.read(spark, path, table, first, date_range=days, segments=segments)
    except MissingColumnsError:
        if table == c.EVENTS or not renames:
            raise
        return source.read(spark, path, table, renames, date_range=days, segments=segments)


def run_interactions(args: argparse.Namespace, context: Context) -> dict[str, Any]:
    from etl.interactions import build_interactions

    days = days_of(args)
    written = build_interactions(context.lake(gated=True), context.config, days, context.log, args.again)
    return {"written": [{**vars(one), "days": str(one.days)} for one in written]}


def run_export(args: argparse.Namespace, context: Context) -> dict[str, Any]:
    from etl.export import export_training_data
    from etl.lake import absolute

    days, truth = days_of(args), absolute(args.truth) if args.truth else None
    lake, out = context.lake(gated=True), args.out.absolute()
    report = export_training_data(lake, context.config, days, out, truth, args.baseline)
    plain = {**vars(report), "days": str(report.days), "drift_unmatched": list(report.drift_unmatched)}
    return plain if args.baseline else {k: v for k, v in plain.items() if not k.startswith("drift")}


def run_movielens(args: argparse.Namespace, context: Context) -> dict[str, Any]:
    from etl.movielens.export import export_movielens

    config = MovieLensConfig(args.protocol, args.split, args.seed, args.means, args.titles)
    return vars(export_movielens(args.input, args.out, config))


def run_plan(args: argparse.Namespace, context: Context) -> dict[str, Any]:
    from etl.plan import lake_plan

    days = days_of(args)
    return {"steps": [vars(step) for step in lake_plan(context.lake(), context.config, days)]}


def run_backfill(args: argparse.Namespace, context: Context) -> dict[str, Any]:
    from etl.interactions import backfill_interactions

    built, waiting = backfill_interactions(context.lake(gated=True), context.config, days_of(args), context.log)
    for step in waiting:
        context.log(f"left alone: {step.table} of {step.ds}: {step.reason}")
    return {"built": [vars(step) for step in built], "waiting": [vars(step) for step in waiting]}


def run_forget(args: argparse.Namespace, context: Context) -> dict[str, Any]:
    from etl.forget import forget_user

    done = forget_user(context.lake(), context.config, args.user)
    next_steps = ["exports and models made before still know this user: make them again"]
    next_steps = [f"prerank backfill --start-ds {days.start} --end-ds {days.end}" for days in done.rebuild] + next_steps
    if done.written:
        days = context.config.maintain.vacuum_days
        next_steps.append(
            f"prerank maintain --ds D, {days} days from now or later (maintain.vacuum_days): it takes away the earlier "
            "versions of the tables, which hold the rows until then; those that a model or an export refers to "
            "(maintain.keep, --keep) stay until these are made again"
        )
    written = [{**vars(one), "days": str(one.days)} for one in done.written]
    return {"rows_removed": done.rows, "written": written, "next": next_steps if done.rows or done.rebuild else []}


def run_check(args: argparse.Namespace, context: Context) -> dict[str, Any]:
    from etl.quality.checks import check_table

    if args.leaks:
        return _check_leaks(args, context)
    strange = [f"--{name.replace('_', '-')}" for name in _LEAK_FLAGS if getattr(args, name) is not None]
    if strange:
        raise UsageError(f"{', '.join(strange)}: only with --leaks")
    days, lake = days_of(args), context.lake(gated=True)
    tables = args.table or [c.EVENTS, c.INTERACTIONS]
    return {"days": str(days), "promises": {table: check_table(lake, table, days, context.config) for table in tables}}


_LEAK_FLAGS = ("cut", "seed", "sample_requests", "scratch")


def _check_leaks(args: argparse.Namespace, context: Context) -> dict[str, Any]:
    from etl.leaks.check import check_leaks

    if args.table:
        raise UsageError("--leaks is about the export as a whole: leave --table out")
    days = days_of(args)
    cut = args.cut or days.days()[len(days) // 2]
    seed = 1 if args.seed is None else args.seed
    requests = 20_000 if args.sample_requests is None else args.sample_requests
    if requests < 1:
        raise UsageError(f"--sample-requests {requests}: at least 1")
    return check_leaks(context.lake(), context.config, days, cut, seed, requests, args.scratch, context.log)
