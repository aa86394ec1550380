"""The DAG ``prerank_daily``: one day of the log -> tables -> export -> model -> metrics -> scores.

Every task runs one verb of the program for ``{{ ds }}``, the day that has just ended when the run starts. The program's
own configuration (lake.root, columns, windows, Spark profile) is ``prerank.yaml`` in the worker's folder and
``PRERANK__SECTION__KEY`` in its environment, as for any other run of it; what a run needs beside that are params, with
defaults from the environment of whatever parses this file:

    PRERANK_SOURCE      parquet, csv, json, ubi or complete-journey [parquet]
    PRERANK_EVENTS      the raw log; ``{ds}`` in a path stands for the day
    PRERANK_ITEMS       the day's catalogue; empty: the lake keeps the one that it has
    PRERANK_CANDIDATES  the day's candidate sets; empty: the day is not scored
    PRERANK_EXPORTS     exports go to {this}/{ds} [./exports]
    PRERANK_MODELS      models go to {this}/{ds}/{model} [./trained]
    PRERANK_MODEL       two_tower or interactrank [interactrank]
    PRERANK_DAYS        days in an export, the run's own the last; each needs the interactions of the day before [14]

Workers need ``prerank``, ``spark-submit`` and the right ``python3`` on PATH, and a connection ``spark_default`` (for
example ``AIRFLOW_CONN_SPARK_DEFAULT='{"conn_type": "spark", "host": "local[2]"}'``). For spark-submit itself:

    PRERANK_APPLICATION    scoring/main.py as workers or the cluster see it [beside the installed package]
    PRERANK_PACKAGES       coordinates of Delta's jars; empty where the cluster has them
    PRERANK_DRIVER_MEMORY  [4g]; known before the driver starts, so a Spark profile cannot set it
    PRERANK_RETRIES        of each task, 5 minutes apart; exit codes 2 and 3 are never retried [2]
"""

import importlib.util
import os
import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, CronDataIntervalTimetable, Param

try:
    from dags import commands as c
    from dags.rules import FailAtOnceOnTerminalExitCodes, skip_without
except ImportError:
    # Not installed here: Airflow has put this folder itself on sys.path.
    import commands as c  # type: ignore[import-not-found, no-redef]
    from rules import FailAtOnceOnTerminalExitCodes, skip_without  # type: ignore[import-not-found, no-redef]

DELTA_PACKAGE = "io.delta:delta-spark_4.1_2.13:4.4.0"
#: Wide aggregates compile to methods above 8000 bytes, which the JVM would otherwise only interpret.
JAVA_OPTIONS = "-XX:-DontCompileHugeMethods"


def application() -> str:
    """The file for spark-submit: what the environment names, else that of the package, found but not imported."""
    if named := os.environ.get("PRERANK_APPLICATION"):
        return named
    package = importlib.util.find_spec("scoring")
    if package is None or package.origin is None:
        return str(Path(__file__).resolve().parents[1] / "scoring" / "main.py")
    return str(Path(package.origin).with_name("main.py"))


def text(variable: str, description: str, default: str = "") -> Param:
    return Param(os.environ.get(variable, default), type="string", description=description)


def submit(task_id: str, arguments: list[str], **options: Any) -> SparkSubmitOperator:
    """A task that needs Spark. The session adds its own settings; only those known at submit time stand here."""
    return SparkSubmitOperator(
        task_id=task_id,
        application=application(),
        application_args=arguments,
        name=f"prerank-{task_id}-{{{{ ds }}}}",
        packages=os.environ.get("PRERANK_PACKAGES", DELTA_PACKAGE) or None,
        conf={"spark.driver.extraJavaOptions": JAVA_OPTIONS},
        driver_memory=os.environ.get("PRERANK_DRIVER_MEMORY", "4g"),
        **options,
    )


def run(task_id: str, arguments: list[str]) -> BashOperator:
    """A task without Spark: under YARN, an application that never starts a SparkContext is killed for it."""
    # The worker's own folder, as for spark-submit; the operator would take an empty one.
    return BashOperator(task_id=task_id, bash_command=c.shell_line(arguments), cwd=".")


PARAMS = {
    "source": text("PRERANK_SOURCE", "How the raw data is laid out.", "parquet"),
    "events": text("PRERANK_EVENTS", "The raw log; {ds} stands for the day."),
    "items": text("PRERANK_ITEMS", "The day's catalogue; empty: the lake keeps the one that it has."),
    "candidates": text("PRERANK_CANDIDATES", "The day's candidate sets; empty: the day is not scored."),
    "exports": text("PRERANK_EXPORTS", "Exports go to {this}/{ds}.", "./exports"),
    "models": text("PRERANK_MODELS", "Models go to {this}/{ds}/{model}.", "./trained"),
    "model": text("PRERANK_MODEL", "two_tower or interactrank.", "interactrank"),
    "days": Param(int(os.environ.get("PRERANK_DAYS", "14")), type="integer", minimum=3, description="Days per export."),
}

with DAG(
    dag_id="prerank_daily",
    description="One day of the log -> tables -> export -> model -> metrics -> scores",
    # With a plain cron string, ds would be the day that has just begun; with an interval it is the one that has ended.
    schedule=CronDataIntervalTimetable("0 2 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # A day's export reads the interactions of the days before it.
    max_active_runs=1,
    params=PARAMS,
    user_defined_filters={"quote": shlex.quote},
    default_args={
        "retries": int(os.environ.get("PRERANK_RETRIES", "2")),
        "retry_delay": timedelta(minutes=5),
        "retry_policy": FailAtOnceOnTerminalExitCodes(),
    },
    tags=["prerank"],
    doc_md=__doc__,
) as dag:
    candidates_given: Callable[[Any], None] = skip_without("candidates")
    ingested = [
        submit(c.INGEST_ITEMS, c.ingest("items"), pre_execute=skip_without("items")),
        submit(c.INGEST_CANDIDATES, c.ingest("candidates"), pre_execute=candidates_given),
    ]
    # Catalogue and candidates may be left out.
    interactions = submit(c.INTERACTIONS, c.interactions(), trigger_rule="none_failed")
    check = submit(c.CHECK, c.check())
    export = submit(c.EXPORT, c.export())
    train = run(c.TRAIN, c.train())
    evaluate = run(c.EVALUATE, c.evaluate())
    score = submit(c.SCORE, c.score(), pre_execute=candidates_given)
    submit(c.INGEST_EVENTS, c.ingest("events")) >> ingested >> interactions >> check >> export
    export >> train >> evaluate >> score
