"""The two kinds of task: what needs Spark is submitted, the rest is a process on the Airflow worker."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowSkipException

try:
    from dags import assets, settings
    from dags import commands as c
    from dags.rules import GATE, exit_code
except ImportError:
    # Not installed here: Airflow has put this folder itself on sys.path.
    import assets  # type: ignore[import-not-found, no-redef]
    import commands as c  # type: ignore[import-not-found, no-redef]
    import settings  # type: ignore[import-not-found, no-redef]
    from rules import GATE, exit_code  # type: ignore[import-not-found, no-redef]

DELTA_PACKAGE = "io.delta:delta-spark_4.1_2.13:4.4.0"
#: Wide aggregates compile to methods above 8000 bytes, which the JVM would otherwise only interpret.
JAVA_OPTIONS = "-XX:-DontCompileHugeMethods"
#: What PRERANK_TRACK names: how an application in cluster mode is watched, and found again after a lost worker.
TRACKING = {"yarn": "yarn_track_via_rm_api", "kubernetes": "track_driver_via_k8s_api"}


class PromoteOperator(SparkSubmitOperator):
    """A promotion that is refused is skipped: an answer, recorded in ``models``, and no failure of the run."""

    def execute(self, context: Any) -> None:
        try:
            super().execute(context)
        except Exception as error:
            if exit_code(error) == GATE:
                raise AirflowSkipException("refused: the champion stays; 'prerank models' says why") from error
            raise


def application() -> str:
    """The file for spark-submit: what the environment names, else that of the package, found but not imported."""
    if named := settings.given("APPLICATION"):
        return named
    package = importlib.util.find_spec("scoring")
    if package is None or package.origin is None:
        return str(Path(__file__).resolve().parents[1] / "scoring" / "main.py")
    return str(Path(package.origin).with_name("main.py"))


def spark_options(task_id: str, writes: bool) -> dict[str, Any]:
    """What every submitted task has. The session adds its own settings; only those known at submit time stand here.

    Raises ValueError for a PRERANK_TRACK that is neither yarn, kubernetes nor empty.
    """
    track = settings.given("TRACK")
    if track and track not in TRACKING:
        raise ValueError(f"PRERANK_TRACK is {track!r}, expected one of {', '.join(TRACKING)}, or nothing")
    options: dict[str, Any] = {TRACKING[track]: True} if track else {}
    return options | {
        "task_id": task_id,
        "application": application(),
        "name": f"prerank-{task_id}-{{{{ run_id }}}}",
        "packages": settings.given("PACKAGES", DELTA_PACKAGE) or None,
        "conf": {"spark.driver.extraJavaOptions": JAVA_OPTIONS},
        "driver_memory": settings.given("DRIVER_MEMORY", "4g"),
        "pool": (settings.given("POOL") or "default_pool") if writes else "default_pool",
    }


def submit(
    task_id: str,
    arguments: Sequence[str],
    *,
    lands: Asset | None = None,
    writes: bool = True,
    profile: str = "",
    operator: type[SparkSubmitOperator] = SparkSubmitOperator,
    **options: Any,
) -> SparkSubmitOperator:
    """A task that needs Spark. Once it has ended well, the run's day of ``lands`` is there.

    ``writes``: it changes tables, and so takes a slot of their pool; ``profile``: a Spark profile, empty as configured.
    """
    if lands is not None:
        options |= {"outlets": [lands], "post_execute": assets.landed(lands)}
    words = configured(c.with_profile(arguments, profile))
    return operator(application_args=words, **spark_options(task_id, writes), **options)


def run(task_id: str, arguments: Sequence[str]) -> BashOperator:
    """A task without Spark: under YARN, an application that never starts a SparkContext is killed for it."""
    # The worker's own folder, as for spark-submit; the operator would take an empty one.
    return BashOperator(task_id=task_id, bash_command=c.shell_line(configured(arguments)), cwd=".")


def configured(arguments: Sequence[str]) -> list[str]:
    """``arguments`` with the configuration file that the environment names, if it does."""
    named = settings.given("CONFIG")
    return [*arguments, *(["--config", named] if named else [])]
