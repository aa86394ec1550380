"""The DAGs as Airflow reads them, in a process of its own that prints what it found."""

import json
import shlex
import subprocess
import sys
from typing import Any

import pytest

from etl.session import DELTA_PACKAGE
from scoring.main import parse
from tests.dags.conftest import ROOT

HEAVY = ("delta", "etl", "models", "numpy", "pandas", "pyspark", "scoring", "torch")
DAGS = ("interactions", "training", "scoring", "backfill")
RANGE = {"start_ds": "2026-01-12", "end_ds": "2026-01-14", "chunk_days": 2}

READ_DAGS = """
import datetime, json, sys, time
# Airflow's own time is not ours.
import airflow.sdk.execution_time.macros as macros
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.serialization.serialized_objects import DagSerialization

folder, given, hidden = json.loads(sys.argv[1])
if hidden:
    sys.modules["dags"] = None
    sys.path.insert(0, folder)
found = {"seconds": {}, "errors": {}, "dags": {}}
UTC = datetime.timezone.utc

def parsing_time(path):
    begun = time.process_time()
    bag = DagBag(path, bundle_path=folder)
    return bag, time.process_time() - begun

def rendered(dag, task_id, context):
    task = dag.get_task(task_id).prepare_for_execution()
    task.render_template_fields({"run_id": "r", "params": dag.params.dump(), "macros": macros, **context})
    return getattr(task, "application_args", None) or task.bash_command

for name in ("interactions", "training", "scoring", "backfill"):
    bag, found["seconds"][name] = parsing_time(f"{folder}/prerank_{name}.py")
    found["errors"] |= bag.import_errors
    for dag in bag.dags.values():
        for param in given.items() if dag.dag_id == "prerank_backfill" else ():
            dag.params[param[0]] = param[1]
        tasks = {}
        for task in dag.tasks:
            details = {"upstream": sorted(task.upstream_task_ids), "mapped": task.is_mapped, "pool": task.pool}
            if isinstance(task, SparkSubmitOperator | BashOperator):
                partition = rendered(dag, task.task_id, {"partition_key": "2026-01-12"})
                by_hand = rendered(dag, task.task_id, {"partition_key": None, "ds": "2026-01-12"})
                details |= {"says": partition, "says_by_hand": by_hand}
            if isinstance(task, SparkSubmitOperator):
                details |= {"application": task.application, "packages": task.packages}
                details["tracked"] = [task._yarn_track_via_rm_api, task._track_driver_via_k8s_api]
            elif task.task_id.startswith("chunks_of_"):
                table = task.task_id.removeprefix("chunks_of_")
                details["chunks"] = task.python_callable(table, dag.params.dump() | {"tables": [table]})
                details["unasked"] = task.python_callable(table, {"tables": []})
            details["lands"] = [outlet.name for outlet in getattr(task, "outlets", None) or []]
            tasks[task.task_id] = details
        known = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
        runs = []
        if known.timetable.periodic:
            first, last = (datetime.datetime(2026, 1, day, 12, tzinfo=UTC) for day in (4, 19))
            runs = [[i.partition_key, i.logical_date and str(i.logical_date.date()), str(i.run_after)]
                    for i in known.iter_dagrun_infos_between(first, last)]
        waits_for = getattr(known.timetable, "asset_condition", None)
        assets = sorted(key.name for key, _ in waits_for.iter_assets()) if waits_for else []
        found["dags"][name] = {"tasks": tasks, "runs": runs, "waits_for": assets, "catchup": dag.catchup}
found["modules"] = sorted(sys.modules)
print(json.dumps(found, default=str))
"""

pytestmark = pytest.mark.airflow


def read_dags(env: dict[str, str], *, hidden: bool = False, **variables: str) -> dict[str, Any]:
    """Every DAG with its tasks rendered for 2026-01-12; ``hidden``: the package ``dags`` is not installed."""
    words = json.dumps([str(ROOT / "dags"), RANGE, hidden])
    env = env | {f"PRERANK_{name}": value for name, value in variables.items()}
    # Elsewhere than in the checkout, whose folder Python would put on sys.path.
    done = subprocess.run(
        [sys.executable, "-c", READ_DAGS, words], env=env, cwd=env["AIRFLOW_HOME"], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert result["errors"] == {}
    return result


def words_of(details: dict[str, Any]) -> list[str]:
    says = details["says"]
    return shlex.split(says)[2:] if isinstance(says, str) else says


@pytest.fixture(scope="module")
def found(airflow_env: dict[str, str]) -> dict[str, Any]:
    raw = {name: f"/raw/{{ds}}/{name.lower()}" for name in ("EVENTS", "ITEMS", "CANDIDATES")}
    return read_dags(airflow_env, **raw)


@pytest.fixture(scope="module")
def clustered(airflow_env: dict[str, str]) -> dict[str, Any]:
    return read_dags(
        airflow_env, hidden=True, RETRIEVE="events", SCORING_PROFILE="gpu", TRAINING_EXECUTORS="2",
        TRAINING_PROFILE="gpu_training", TRACK="yarn", POOL="lake", CONFIG="/etc/prerank.yaml", START_DS="2026-01-08",
    )  # fmt: skip


def test_the_tasks_of_each_dag_follow_each_other(found: dict[str, Any]) -> None:
    order = {
        name: {task: details["upstream"] for task, details in dag["tasks"].items()}
        for name, dag in found["dags"].items()
    }
    raw = ["ingest_candidates", "ingest_events"]
    assert order == {
        "interactions": {
            "ingest_events": [],
            "ingest_items": [],
            "ingest_candidates": [],
            "interactions": sorted([*raw, "ingest_items"]),
            "check": ["interactions"],
        },
        "training": {"export": [], "train": ["export"], "evaluate": ["train"], "promote": ["evaluate"]},
        "scoring": {"embed": [], "score": ["embed"], "report": ["score"]},
        "backfill": {
            "chunks_of_events": [],
            "ingest_events": ["chunks_of_events"],
            "chunks_of_candidates": [],
            "ingest_candidates": ["chunks_of_candidates"],
            "plan": raw,
            "chunks_of_interactions": [],
            "backfill": ["chunks_of_interactions", "plan"],
        },
    }


def test_reading_a_file_takes_under_a_second_and_imports_nothing_heavy(found: dict[str, Any]) -> None:
    assert set(found["seconds"]) == set(DAGS)
    assert max(found["seconds"].values()) < 1
    assert [name for name in HEAVY if name in found["modules"]] == []


def test_the_program_understands_every_task(found: dict[str, Any], clustered: dict[str, Any]) -> None:
    for dag in (*found["dags"].values(), *clustered["dags"].values()):
        for task, details in dag["tasks"].items():
            for words in [words_of(details)] if "says" in details else details.get("chunks", []):
                assert parse(words).verb == task.split("_")[0].replace("chunks", words[0])
                assert "2026-01-1" in " ".join(words)


def test_a_run_by_hand_says_what_the_run_of_that_partition_says(found: dict[str, Any]) -> None:
    rendered = [details for dag in found["dags"].values() for details in dag["tasks"].values() if "says" in details]
    assert [details["says"] for details in rendered] == [details["says_by_hand"] for details in rendered]
    assert len(rendered) == 13


def test_scheduled_days_are_those_that_have_ended(found: dict[str, Any]) -> None:
    daily, weekly = (found["dags"][name]["runs"] for name in ("interactions", "training"))
    assert [key for key, _, _ in daily] == [f"2026-01-{day:02}" for day in range(5, 20)]
    # Mondays: the day before is the newest one that is whole.
    assert [(ds, after[:10]) for _, ds, after in weekly] == [
        ("2026-01-04", "2026-01-05"),
        ("2026-01-11", "2026-01-12"),
        ("2026-01-18", "2026-01-19"),
    ]


def test_scoring_waits_for_what_the_day_is_scored_with(found: dict[str, Any], clustered: dict[str, Any]) -> None:
    tasks = found["dags"]["interactions"]["tasks"]
    lands = {name: task for task, details in tasks.items() for name in details["lands"]}
    assert lands == {
        "prerank_events": "ingest_events",
        "prerank_items": "ingest_items",
        "prerank_candidates": "ingest_candidates",
        # After the gates.
        "prerank_interactions": "check",
    }
    assert found["dags"]["scoring"]["waits_for"] == ["prerank_candidates", "prerank_interactions"]
    assert clustered["dags"]["scoring"]["waits_for"] == ["prerank_interactions"]
    assert clustered["dags"]["scoring"]["tasks"]["candidates"]["upstream"] == ["embed"]


def test_a_backfill_is_mapped_over_chunks_of_days_and_only_of_the_tables_asked_for(found: dict[str, Any]) -> None:
    tasks = found["dags"]["backfill"]["tasks"]
    mapped = {task for task, details in tasks.items() if details["mapped"]}
    assert mapped == {"ingest_events", "ingest_candidates", "backfill"}
    assert tasks["chunks_of_interactions"]["chunks"] == [
        ["backfill", "--start-ds", "2026-01-12", "--end-ds", "2026-01-13"],
        ["backfill", "--start-ds", "2026-01-14", "--end-ds", "2026-01-14"],
    ]
    inputs = [words[words.index("--input") + 1] for words in tasks["chunks_of_events"]["chunks"]]
    assert inputs == ["/raw/{2026-01-12,2026-01-13}/events", "/raw/2026-01-14/events"]
    assert tasks["chunks_of_events"]["unasked"] == []


def test_spark_is_given_the_installed_program_and_the_jars_that_the_session_expects(found: dict[str, Any]) -> None:
    tasks = [details for dag in found["dags"].values() for details in dag["tasks"].values()]
    submitted = [details for details in tasks if "application" in details]
    assert len(submitted) == 11
    assert {details["application"] for details in submitted} == {str(ROOT / "scoring" / "main.py")}
    assert {details["packages"] for details in submitted} == {DELTA_PACKAGE}
    assert [details["tracked"] for details in submitted] == [[False, False]] * 11


def test_the_environment_asks_for_gpus_a_pool_tracking_and_a_first_day(clustered: dict[str, Any]) -> None:
    """Read without an installed package, too: the files beside the DAGs are found."""
    assert "commands" in clustered["modules"]
    dags = clustered["dags"]
    profiles = {task: parse(words_of(dags["scoring"]["tasks"][task])).set for task in ("embed", "candidates", "score")}
    assert set(map(tuple, profiles.values())) == {("spark.profile=gpu",)}
    train = parse(words_of(dags["training"]["tasks"]["train"]))
    assert (train.executors, train.set[-1], str(train.config)) == (2, "spark.profile=gpu_training", "/etc/prerank.yaml")
    assert dags["scoring"]["tasks"]["score"]["tracked"] == [True, False]
    pools = {task: details["pool"] for dag in dags.values() for task, details in dag["tasks"].items()}
    assert {task for task, pool in pools.items() if pool == "lake"} == {
        "ingest_events", "ingest_items", "ingest_candidates", "interactions", "promote", "embed", "candidates", "score",
        "backfill",
    }  # fmt: skip
    assert dags["interactions"]["catchup"] is True


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
