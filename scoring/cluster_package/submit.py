"""The command lines that run a package, one for each kind of cluster."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from etl.session import JAVA_OPTIONS
from scoring.cluster_package.environment import NAME

FILE = "SUBMIT.md"
SCRIPT = "prerank.py"
CODE = "prerank.zip"
VERB = "interactions --ds 2026-01-08"
JARS = "jars"
_PYTHON = f"./{NAME}/bin/python"
_CLUSTER = "--set spark.profile=cpu"


@dataclass(frozen=True)
class Packaged:
    """What of a package the command lines depend on."""

    folder: str
    """Where it lies, absolute."""
    has_environment: bool
    has_jars: bool
    """Delta's lie in its ``jars``; otherwise Spark's resolver fetches ``delta``."""
    delta: str
    """Maven coordinates."""


def submit_text(packaged: Packaged) -> str:
    """The file that lies in the package: what to do once, then a command line for each kind of cluster."""
    blocks = [f"`PACKAGE` is this folder, wherever it lies now; the verb is an example.\n\n{_shell(_once(packaged))}"]
    for title, words in (
        ("This host alone", _local(packaged)),
        ("A standalone cluster; the driver runs on this host", _standalone(packaged)),
        ("YARN; the driver runs in the cluster", _yarn(packaged)),
        ("Kubernetes; the driver runs in the cluster", _kubernetes(packaged)),
    ):
        blocks.append(f"## {title}\n\n{_shell([_line(words)])}")
    return "# Running this package\n\n" + "\n".join(blocks)


def _once(packaged: Packaged) -> list[str]:
    lines = [f"PACKAGE={shlex.quote(packaged.folder)}"]
    if packaged.has_environment:
        # Aside first: half of it must not pass for the whole.
        unpack = 'mkdir -p "$ENV.part" && tar -xzf "$ENV.tar.gz" -C "$ENV.part" && mv "$ENV.part" "$ENV"'
        lines += [f'ENV="$PACKAGE/{NAME}"', f'[ -d "$ENV" ] || {{ {unpack}; }}']
    if packaged.has_jars:
        lines.append(f'JARS=$(printf "%s," "$PACKAGE"/{JARS}/*.jar)')
    return lines


def _local(packaged: Packaged) -> list[str]:
    python = ['--conf spark.pyspark.python="$ENV/bin/python"'] if packaged.has_environment else _code(packaged)
    where = f"--master 'local[*]' --driver-memory 4g --driver-java-options={JAVA_OPTIONS}"
    return [where, *python, _jars(packaged), _program()]


def _standalone(packaged: Packaged) -> list[str]:
    driver = ['--conf spark.pyspark.driver.python="$ENV/bin/python"'] if packaged.has_environment else []
    return ["--master spark://HOST:7077", *_code(packaged), *driver, _jars(packaged), _program(_CLUSTER)]


def _yarn(packaged: Packaged) -> list[str]:
    where = "--master yarn --deploy-mode cluster --files prerank.yaml"
    return [where, *_code(packaged), _jars(packaged), _program(_CLUSTER)]


def _kubernetes(packaged: Packaged) -> list[str]:
    where = [
        "--master k8s://https://HOST:6443 --deploy-mode cluster --files prerank.yaml",
        "--conf spark.kubernetes.container.image=IMAGE",
        "--conf spark.kubernetes.file.upload.path=s3a://BUCKET/uploads",
    ]
    return [*where, *_code(packaged), _jars(packaged), _program(_CLUSTER)]


def _code(packaged: Packaged) -> list[str]:
    """How hosts get the program: within the environment, or as a zip beside packages of their own."""
    if not packaged.has_environment:
        return [f'--py-files "$PACKAGE/{CODE}"']
    return [f'--archives "$ENV.tar.gz#{NAME}"', f"--conf spark.pyspark.python={_PYTHON}"]


def _jars(packaged: Packaged) -> str:
    return '--jars "${JARS%,}"' if packaged.has_jars else f"--packages {packaged.delta}"


def _program(*settings: str) -> str:
    return " ".join([f'"$PACKAGE/{SCRIPT}" {VERB}', *settings])


def _line(words: Sequence[str]) -> str:
    return " \\\n  ".join(["spark-submit", *words])


def _shell(lines: Sequence[str]) -> str:
    return "\n".join(["```bash", *lines, "```", ""])
