"""The program ``prerank``: one parser over the verbs of etl, models and scoring. Also the file for spark-submit."""

import argparse
import json
import math
import os
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import etl.cli
import models.cli
import scoring.cli
from etl.contract.errors import PrerankError, UnknownNameError, UsageError
from etl.contract.masking import Masks
from etl.contract.printable import json_safe, message, one_line, printable
from etl.contract.settings import load, to_plain
from scoring.config import PrerankConfig
from scoring.context import Context

DESCRIPTION = "The offline half of a search pre-ranker: interaction tables, training data, models, bulk scoring."
EPILOG = """exit codes: 0 ok, 1 failed, 2 usage, 3 stopped by a quality gate,
  130 interrupted
configuration: prerank.yaml <- environment PRERANK__SECTION__KEY <- --set section.key=value (see show-config)"""


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are UsageErrors; a verb that does not exist names the nearest one."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. See: {self.prog} --help")


def build_parser() -> Parser:
    parser = Parser(
        prog="prerank",
        description=DESCRIPTION,
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", required=True)
    for package in (etl.cli, models.cli, scoring.cli):
        package.add_verbs(verbs)
    for name, verb in verbs.choices.items():
        verb.prog, verb.allow_abbrev = f"prerank {name}", False
        _add_common(verb)
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line as a namespace; UsageError naming the nearest valid word for an unknown verb or flag."""
    parser, argv = build_parser(), _verb_first(argv)
    verbs = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction)).choices
    if argv and (verb := argv[0]) not in ("-h", "--help"):
        if verb.startswith("-"):
            parser.error(f"a verb is missing after {' '.join(argv)}")
        if verb not in verbs:
            raise UnknownNameError("verb", verb, verbs)
        # Before argparse looks, as it would complain of what is missing first.
        flags = [flag for action in verbs[verb]._actions for flag in action.option_strings]
        for word in argv[1:]:
            if word.startswith("--") and word.partition("=")[0] not in flags:
                raise UnknownNameError(f"flag of 'prerank {verb}'", word.partition("=")[0], flags)
    return parser.parse_args(argv)


def _verb_first(argv: Sequence[str]) -> list[str]:
    """Options before the verb are its own: ``prerank --config F plan`` is ``prerank plan --config F``."""
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        at += 2 if argv[at] in ("--config", "--set") else 1
    return [*argv[at : at + 1], *argv[:at], *argv[at + 1 :]]


def run(argv: Sequence[str], masks: Masks | None = None) -> int:
    """Parse, run one verb, print its result; returns the exit code. ``masks`` learns the configuration's secrets."""
    args = parse(argv)
    context = Context(load(PrerankConfig, args.config, os.environ, args.set))
    if masks is not None:
        masks.learn(to_plain(context.config))
    try:
        result = args.run(args, context)
    except Exception as error:
        explained = context.explained(args, error)
        context.record_failure(args, explained or error)
        if explained is None:
            raise
        raise explained from error
    if result is None:  # another process of the same run speaks for it
        return 0
    if args.json:
        text = json_safe(json.dumps(_finite(result), ensure_ascii=False, default=str, allow_nan=False))
    else:
        text = printable(scoring.cli.render(args.verb, result))
    sys.stdout.write(text + "\n")
    return 0


def _finite(value: Any) -> Any:
    """JSON knows no NaN: a figure that does not exist is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def main(argv: Sequence[str] | None = None) -> int:
    """The console script. Failures that have an explanation print it; others name the error, --debug shows where."""
    words = list(sys.argv[1:] if argv is None else argv)
    masks = Masks(os.environ)
    sys.excepthook = partial(_trace if "--debug" in words else _explain, masks=masks)
    try:
        return run(words, masks)
    except PrerankError as error:
        if "--debug" in words and error.__cause__ is not None:
            cause = error.__cause__
            _trace(type(cause), cause, cause.__traceback__, masks)
        sys.stderr.write(f"prerank: {message(masks(str(error)))}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("prerank: interrupted; what was committed stands, run the same command to finish\n")
        return 130


def _add_common(parser: argparse.ArgumentParser) -> None:
    common = parser.add_argument_group("common options")
    common.add_argument("--config", type=Path, metavar="FILE", help="configuration file [prerank.yaml if there is one]")
    common.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one value; repeatable"
    )
    common.add_argument("--json", action="store_true", help="print one machine-readable object on stdout")
    common.add_argument("--debug", action="store_true", help="show the traceback of an unexpected error")


def _explain(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None, masks: Masks | None = None
) -> None:
    cause = one_line((masks or Masks())(_first_cause(str(error))))
    sys.stderr.write(
        f"prerank: unexpected {kind.__name__}: {cause}\n"
        "Tables are changed only by whole commits; the same command with --debug shows where this happened.\n"
    )


def _trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None, masks: Masks) -> None:
    sys.stderr.write(printable(masks("".join(traceback.format_exception(kind, error, trace)))))


def _first_cause(message: str) -> str:
    """The first line; of an error from Java or from a Python worker, what caused it: the first line names the call."""
    lines = message.strip().splitlines() or ["no message"]
    causes = [number for number, line in enumerate(lines) if line.startswith(("Caused by: ", ": "))]
    if not causes:
        return lines[0]
    start = causes[-1]
    if lines[start].endswith("Traceback (most recent call last):"):
        start = next((n for n in range(start + 1, len(lines)) if lines[n].strip() and lines[n][0] not in " \t"), start)
    return lines[start].removeprefix("Caused by: ").removeprefix(": ")


if __name__ == "__main__":
    sys.exit(main())
