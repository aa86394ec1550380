"""The verb ``package``."""

import argparse
from typing import TYPE_CHECKING, Any

from etl.contract.paths import local_path
from scoring.cluster_package.kinds import FULL, KINDS

if TYPE_CHECKING:
    from scoring.context import Context

_MEGA = 1_000_000


def add_verbs(subparsers: Any) -> None:
    """Add the verb to an argparse sub-parser collection; it sets ``run(args, context) -> dict``."""
    parser = subparsers.add_parser("package", help="what spark-submit needs to run prerank on a cluster")
    parser.add_argument("--out", required=True, type=local_path, metavar="DIR", help="the folder, replaced if whole")
    parser.add_argument("--environment", choices=KINDS, default=FULL, help="Python packages for the hosts: all of "
                        "prerank's; etl: without torch and what else only models, scoring and report import; none: "
                        "hosts have them [%(default)s]")  # fmt: skip
    parser.add_argument("--python", metavar="COMMAND", help="starts Python on a host, of the version that runs here")
    parser.add_argument(
        "--jars", action="store_true", help="Delta's jars too, for hosts that reach no Maven repository"
    )
    parser.set_defaults(run=run_package)


def run_package(args: argparse.Namespace, context: "Context") -> dict[str, Any]:
    from scoring.cluster_package.build import build_package
    from scoring.cluster_package.environment import host_python

    return vars(build_package(args.out, args.environment, args.python or host_python(), args.jars))


def package_text(result: dict[str, Any]) -> str:
    """What was written, how large, and where the command lines are."""
    from scoring.cluster_package.submit import FILE
    from scoring.terminal import lines_of

    lines = {
        "package": result["out"],
        "version": result["version"],
        "files": [f"{size / _MEGA:9.1f} MB  {name}" for name, size in result["files"].items()],
    }
    if result["packages"]:
        size = f"{len(result['packages'])} packages, {result['unpacked_bytes'] / _MEGA:.0f} MB unpacked"
        lines["environment"] = f"{result['environment']}: {size}; hosts need {result['python']}"
    return lines_of(lines | {"next": f"the command lines are in {result['out']}/{FILE}"})
