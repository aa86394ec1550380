"""The DAG as Airflow reads it, in a process of its own that prints what it found."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from etl.session import DELTA_PACKAGE
from scoring.main import parse

ROOT = Path(__file__).parents[2]
HEAVY = ("delta", "etl", "models", "numpy", "pandas", "pyspark", "scoring", "torch")

READ_DAG = """
import json, sys, time
# Airflow's own time is not ours.
import airflow.sdk.execution_time.macros as macros
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator

if "--not-installed" in sys.argv:
    sys.modules["dags"] = None
    sys.path.insert(0, sys.argv[1])
begun = time.perf_counter()
bag = DagBag(sys.argv[1])
seconds = time.perf_counter() - begun
found = {"seconds": seconds, "errors": bag.import_errors, "modules": sorted(sys.modules), "tasks": {}}
for dag in bag.dags.values():
    for task in dag.tasks:
        task.render_template_fields({"ds": "2026-01-12", "params": dag.params.dump(), "macros": macros})
        found["tasks"][task.task_id] = {
            "upstream": sorted(task.upstream_task_ids),
            "arguments": getattr(task, "application_args", None),
            "line": getattr(task, "bash_command", None),
            "application": getattr(task, "application", None),
            "packages": getattr(task, "packages", None),
        }
print(json.dumps(found, default=str))
"""

pytestmark = pytest.mark.airflow


def read_dag(env: dict[str, str], *flags: str) -> dict[str, Any]:
    command = [sys.executable, "-c", READ_DAG, str(ROOT / "dags"), *flags]
    # Elsewhere than in the checkout, whose folder Python would put on sys.path.
    done = subprocess.run(command, env=env, cwd=env["AIRFLOW_HOME"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.fixture(scope="module")
def found(airflow_env: dict[str, str]) -> dict[str, Any]:
    paths = {f"PRERANK_{name}": f"/raw/{name.lower()}" for name in ("EVENTS", "ITEMS", "CANDIDATES")}
    return read_dag(airflow_env | paths)


def test_airflow_reads_the_dag_without_errors(found: dict[str, Any]) -> None:
    assert found["errors"] == {}
    assert {task: details["upstream"] for task, details in found["tasks"].items()} == {
        "ingest_events": [],
        "ingest_items": ["ingest_events"],
        "ingest_candidates": ["ingest_events"],
        "interactions": ["ingest_candidates", "ingest_items"],
        "check": ["interactions"],
        "export": ["check"],
        "train": ["export"],
        "evaluate": ["train"],
        "score": ["evaluate"],
    }


def test_reading_it_takes_under_a_second_and_imports_nothing_heavy(found: dict[str, Any]) -> None:
    assert found["seconds"] < 1
    assert [name for name in HEAVY if name in found["modules"]] == []


def test_helpers_are_found_without_an_installed_package(airflow_env: dict[str, str]) -> None:
    found = read_dag(airflow_env, "--not-installed")
    assert found["errors"] == {}
    assert "commands" in found["modules"]


def test_the_program_understands_every_task(found: dict[str, Any]) -> None:
    verbs = {}
    for task, details in found["tasks"].items():
        words = details["arguments"] or shlex.split(details["line"])[2:]
        verbs[task] = parse(words).verb
        assert "2026-01-12" in " ".join(words)
    assert verbs == {task: task.split("_")[0] for task in found["tasks"]}


def test_spark_is_given_the_installed_program_and_the_jars_that_the_session_expects(found: dict[str, Any]) -> None:
    submitted = [details for details in found["tasks"].values() if details["arguments"]]
    assert len(submitted) == 7
    assert {details["application"] for details in submitted} == {str(ROOT / "scoring" / "main.py")}
    assert {details["packages"] for details in submitted} == {DELTA_PACKAGE}


def test_the_submitted_file_hides_no_library(airflow_env: dict[str, str]) -> None:
    """Python puts the folder of a submitted file first on sys.path; Great Expectations, for one, needs ``requests``."""
    lines = (
        "import runpy, sys",
        "sys.path.insert(0, sys.argv.pop())",
        "main = sys.path[0] + '/main.py'",
        "sys.argv.append('--help')",
        "try:",
        "    runpy.run_path(main, run_name='__main__')",
        "except SystemExit:",
        "    import requests",
        "    requests.get",
    )
    command = [sys.executable, "-c", "\n".join(lines), str(ROOT / "scoring")]
    done = subprocess.run(command, env=airflow_env, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
