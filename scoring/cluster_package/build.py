"""The packaging job: a folder with everything that spark-submit is given."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from etl.contract.publish import published_directory
from etl.session import DELTA_PACKAGE, fetched_jars
from scoring.cluster_package.distributions import project, required
from scoring.cluster_package.environment import ARCHIVE, write_environment
from scoring.cluster_package.kinds import LEFT_OUT, NONE
from scoring.cluster_package.submit import CODE, FILE, JARS, SCRIPT, Packaged, submit_text
from scoring.cluster_package.wheel import wheel_files, wheel_name, write_zip
from scoring.errors import PackageError

#: Describes a package, and is written last.
MANIFEST = "package.json"
_SCRIPT = '''\
"""The program prerank, for spark-submit."""

import sys

from scoring.main import main

if __name__ == "__main__":
    sys.exit(main())
'''


@dataclass(frozen=True)
class PackageReport:
    out: str
    version: str
    environment: str
    """full, etl or none."""
    python: str
    """The command that starts Python on a host; empty without an environment."""
    packages: dict[str, str]
    """Distributions in the environment and their versions."""
    unpacked_bytes: int
    files: dict[str, int]
    """Path -> bytes."""


def build_package(out: Path, environment: str, python: str, with_jars: bool) -> PackageReport:
    """Write the package to ``out``, replacing one that is there, only when it is whole.

    Raises PackageError where something that belongs to it is not on this machine.
    """
    own = project()
    others = [] if environment == NONE else required(LEFT_OUT[environment])
    jars = _delta_jars() if with_jars else []
    with published_directory(out, MANIFEST, "unpacked_bytes") as aside:
        files, unpacked = wheel_files(own), 0
        write_zip(aside / wheel_name(own), files)
        if environment == NONE:
            # The wheel under a name that executors take for code.
            write_zip(aside / CODE, files)
        else:
            unpacked = write_environment(aside / ARCHIVE, files, others, python)
        for jar in jars:
            (aside / JARS).mkdir(exist_ok=True)
            shutil.copy(jar, aside / JARS / jar.name)
        (aside / SCRIPT).write_text(_SCRIPT, encoding="utf-8")
        packaged = Packaged(str(out.absolute()), environment != NONE, with_jars, DELTA_PACKAGE)
        (aside / FILE).write_text(submit_text(packaged), encoding="utf-8")
        report = PackageReport(
            out=str(out),
            version=own.version,
            environment=environment,
            python="" if environment == NONE else python,
            packages={other.metadata["Name"]: other.version for other in others},
            unpacked_bytes=unpacked,
            files=_sizes(aside),
        )
        (aside / MANIFEST).write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    return report


def _sizes(folder: Path) -> dict[str, int]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _delta_jars() -> list[Path]:
    jars = fetched_jars()
    if not jars:
        raise PackageError(
            f"the jars of {DELTA_PACKAGE} are not in Spark's cache",
            "start Spark here once, which fetches them: prerank runs, or spark-submit --packages",
        )
    return jars
