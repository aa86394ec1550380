"""The verb ``export-serving``."""

import argparse
from typing import TYPE_CHECKING, Any

from etl.cli import add_days, day_of
from etl.contract.paths import local_path

if TYPE_CHECKING:
    from scoring.context import Context


def add_verbs(subparsers: Any) -> None:
    """Add the verb to an argparse sub-parser collection; it sets ``run(args, context) -> dict``."""
    parser = subparsers.add_parser("export-serving", help="what an online pre-ranker loads to serve a day's requests")
    parser.add_argument("--model", required=True, metavar="DIR", help="a model directory, or champion: that of the ds")
    parser.add_argument(
        "--out", required=True, type=local_path, metavar="DIR", help="the folder to write, replaced if whole"
    )
    add_days(parser)
    parser.set_defaults(run=run_export_serving)


def run_export_serving(args: argparse.Namespace, context: "Context") -> dict[str, Any]:
    from scoring.model_versions import model_directory
    from scoring.serving.export import export_serving

    ds, lake = day_of(args, "export-serving is for the requests of"), context.lake()
    return vars(export_serving(lake, context.config, ds, model_directory(lake, args.model, ds), args.out))
