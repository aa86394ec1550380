"""The verb ``candidates``."""

import argparse
from typing import TYPE_CHECKING, Any

from etl.cli import add_days, day_of

if TYPE_CHECKING:
    from scoring.context import Context


def add_verbs(subparsers: Any) -> None:
    """Add the verb to an argparse sub-parser collection; it sets ``run(args, context) -> dict``."""
    parser = subparsers.add_parser("candidates", help="items for the requests of a ds that have none -> candidates")
    parser.add_argument(
        "--model",
        metavar="DIR",
        help="nearest items by this model directory, or champion: that of the ds [no such items]",
    )
    parser.add_argument(
        "--from-events", action="store_true", help="also the requests of the day's events that have no candidate set"
    )
    add_days(parser)
    parser.set_defaults(run=run_candidates)


def run_candidates(args: argparse.Namespace, context: "Context") -> dict[str, Any]:
    from scoring.candidates.generate import generate_candidates
    from scoring.model_versions import model_directory

    ds, lake = day_of(args, "candidates are generated for"), context.lake()
    model = None if args.model is None else model_directory(lake, args.model, ds)
    return vars(generate_candidates(lake, context.config, ds, model, args.from_events))
