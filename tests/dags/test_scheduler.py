"""Airflow's own scheduler, on SQLite: two days come by themselves, five more are asked for.

``recorded`` submits a program that only writes down what it was told, and is about which run says what, and when;
``built`` submits prerank itself, on a tiny log.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from etl.java import require_java
from tests.dags.conftest import AIRFLOW, TINY_CONFIG, TINY_SPARK, run

INTERACTIONS, SCORING = "prerank_interactions", "prerank_scoring"
MOST_SECONDS = 3600

RECORD = """
import json, sys
from pathlib import Path

with Path(__file__).with_name("calls.jsonl").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
"""

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.scheduler]


def days(first: int, last: int) -> list[str]:
    """Days from ``first`` to ``last`` days ago: the scheduler knows no other now than the real one."""
    today = datetime.now(UTC).date()
    return [str(today - timedelta(days=ago)) for ago in range(first, last - 1, -1)]


@contextmanager
def standalone(env: dict[str, str], folder: Path) -> Iterator[None]:
    with (folder / "standalone.txt").open("w") as output:
        process = subprocess.Popen(
            [AIRFLOW, "standalone"], env=env, cwd=folder, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield
        finally:
            stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """The process and all that it has started; its scheduler may outlive it, for it waits for running tasks."""
    os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(60)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def free_ports(count: int) -> list[str]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [str(one.getsockname()[1]) for one in sockets]


def scheduler_env(env: dict[str, str], folder: Path) -> dict[str, str]:
    port, worker_logs, trigger_logs = free_ports(3)
    return env | {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__API__PORT": port,
        "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}/execution/",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": worker_logs,
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": trigger_logs,
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__API__WORKERS": "1",
        "PRERANK_EVENTS": "raw/events",
        # From midnight on, yesterday is the newest day.
        "PRERANK_DAILY_CRON": "0 0 * * *",
        "PRERANK_START_DS": days(2, 2)[0],
    }


def until(reached: Callable[[], bool], what: str, folder: Path) -> None:
    begun = time.monotonic()
    while not reached():
        said = (folder / "standalone.txt").read_text(errors="replace")[-6000:]
        assert time.monotonic() - begun < MOST_SECONDS, f"still waiting for {what}\n{said}"
        time.sleep(5)


def succeeded(env: dict[str, str], folder: Path, dag: str) -> int:
    """How many runs ended well; none may have failed."""
    done = subprocess.run(
        [AIRFLOW, "dags", "list-runs", dag, "-o", "json"], env=env, cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    start = done.stdout.find("[{")
    runs = json.loads(done.stdout[start:].splitlines()[0]) if start >= 0 else []
    states = [entry["state"] for entry in runs]
    assert "failed" not in states, runs
    return states.count("success")


def unpause(env: dict[str, str], folder: Path, dag: str) -> bool:
    """False as long as the DAG has not been read."""
    command = [AIRFLOW, "dags", "unpause", "--yes", dag]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode == 0 and dag in done.stdout


def schedule_days(env: dict[str, str], folder: Path, dags: list[str]) -> None:
    """Two days by the scheduler, then a backfill of the five before; every DAG has a run for each in the end."""
    with standalone(env, folder):
        for dag in reversed(dags):
            until(lambda dag=dag: unpause(env, folder, dag), f"{dag} to appear", folder)
        until(lambda: succeeded(env, folder, dags[-1]) == 2, "two scheduled days", folder)
        first, *_, last = days(7, 3)
        backfill = ["--from-date", first, "--to-date", last, "--max-active-runs", "1"]
        run([AIRFLOW, "backfill", "create", "--dag-id", INTERACTIONS, *backfill], env, folder)
        until(lambda: succeeded(env, folder, dags[-1]) == 7, "five backfilled days", folder)


def test_recorded_days_run_in_order_and_each_is_scored_once_it_has_landed(
    airflow_env: dict[str, str], tmp_path: Path
) -> None:
    program = tmp_path / "main.py"
    program.write_text(RECORD, encoding="utf-8")
    recorded = {"PRERANK_APPLICATION": str(program), "PRERANK_PACKAGES": "", "PRERANK_CANDIDATES": "raw/{ds}"}
    env = scheduler_env(airflow_env | TINY_SPARK | recorded | {"JAVA_HOME": require_java()}, tmp_path)
    schedule_days(env, tmp_path, [INTERACTIONS, SCORING])

    calls = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    days_of = {verb: [call[call.index("--ds") + 1] for call in calls if call[0] == verb] for verb in ("check", "score")}
    assert days_of["check"] == days(2, 1) + days(7, 3)
    assert sorted(days_of["score"]) == days(7, 1)
    for ds in days(7, 1):
        of_the_day = [call[0] for call in calls if f" {ds}" in f" {' '.join(call)}"]
        assert of_the_day.index("check") < of_the_day.index("embed") < of_the_day.index("score")
    inputs = [call[call.index("--input") + 1] for call in calls if call[:3] == ["ingest", "--table", "candidates"]]
    assert sorted(inputs) == [f"raw/{ds}" for ds in days(7, 1)]


def test_built_days_are_in_the_lake(airflow_env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "prerank.yaml").write_text(TINY_CONFIG, encoding="utf-8")
    env = scheduler_env(airflow_env | TINY_SPARK | {"JAVA_HOME": require_java()}, tmp_path)
    first, *_, last = days(7, 1)
    raw = ["simulate", "--out", "raw", "--events", "4000", "--seed", "3", "--start-ds", first, "--end-ds", last]
    run([sys.executable, "-m", "scoring.main", *raw], env, tmp_path)
    schedule_days(env, tmp_path, [INTERACTIONS])
    built = {folder.name.removeprefix("ds=") for folder in (tmp_path / "lake" / "interactions").glob("ds=*")}
    assert built == set(days(7, 1))
