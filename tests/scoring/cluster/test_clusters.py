"""A day scored on clusters of several processes is the day scored in local mode, to the bit; a killed one's too."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.scoring.cluster.conftest import Day
from tests.scoring.cluster.daemon import HELD, HOLD
from tests.scoring.cluster.runs import Scored, cluster_conf, finish_score, start_score
from tests.scoring.cluster.standalone import WorkerHost, gpu_script, standalone_cluster

pytestmark = [pytest.mark.cluster, pytest.mark.spark, pytest.mark.slow]

STATIC = {"spark.dynamicAllocation.enabled": "false", "spark.executor.resource.gpu.amount": "1"}
HOSTS = (WorkerHost(gpus=("3",), cores=1, memory="1g"), WorkerHost(gpus=("5",), cores=1, memory="1g"))
HELD_SECONDS = 200


def assert_same_scores(found: Scored, day: Day) -> None:
    assert found.report == day.report
    assert found.scores.equals(day.scores), "the same requests, items and scores, floats to the last bit"
    assert found.scores.num_rows == day.report["requests"] > 100


def assert_only_models_hold_gpus(found: Scored) -> None:
    with_model = [stage for stage in found.log.stages if found.runs_a_model(stage)]
    assert len({stage.number for stage in with_model}) >= 2, "the item tower's and the ranking's"
    assert not any(stage.prepares for stage in with_model)
    for stage in found.log.stages:
        assert (found.log.task_gpus(stage.profile) > 0) == (stage in with_model), stage


def test_local_cluster_scores_as_local_mode_does(day: Day, copied: Path):
    conf = cluster_conf(copied, "local-cluster[2,1,1024]")
    found = finish_score(start_score(copied, "cpu", conf), copied)
    assert_same_scores(found, day)
    assert {(*task["addresses"], task["device"]) for task in found.tasks} == {("cpu",)}
    assert len(found.log.executors) == 2


def test_local_cluster_gives_its_gpus_to_the_stages_that_run_a_model(day: Day, copied: Path, tmp_path: Path):
    script = gpu_script(tmp_path / "gpus.sh", ["2"])
    own = {"spark.worker.resource.gpu.amount": "1", "spark.worker.resource.gpu.discoveryScript": str(script)}
    found = finish_score(
        start_score(copied, "gpu", cluster_conf(copied, "local-cluster[2,1,1024]", **STATIC, **own)), copied
    )
    assert_same_scores(found, day)
    assert_only_models_hold_gpus(found)
    assert {(*task["addresses"], task["device"]) for task in found.tasks} == {("2", "cuda:2")}


def test_executors_with_gpus_are_started_for_the_stages_that_run_a_model(day: Day, copied: Path, tmp_path: Path):
    # One of each kind at most: the worker has room for both.
    more = {"spark.dynamicAllocation.maxExecutors": "1"}
    with standalone_cluster(tmp_path, [WorkerHost(gpus=("7",), cores=2, memory="2g")]) as master:
        conf = cluster_conf(copied, master, **more)
        found = finish_score(start_score(copied, "gpu", conf), copied)
    assert_same_scores(found, day)
    assert_only_models_hold_gpus(found)
    assert {found.log.executor_gpus(profile) for profile in found.log.executors.values()} == {0, 1}
    for stage in found.log.stages:
        holds = {found.log.executor_gpus(found.log.executors[one]) for one in found.log.executors_of(stage.number)}
        assert holds == {1 if found.runs_a_model(stage) else 0}
    assert {(*task["addresses"], task["device"]) for task in found.tasks} == {("7", "cuda:7")}


def test_a_killed_executor_costs_a_retry_and_no_row(day: Day, copied: Path, tmp_path: Path):
    (copied / HOLD).touch()
    with standalone_cluster(tmp_path, HOSTS) as master:
        process = start_score(copied, "gpu", cluster_conf(copied, master, **STATIC))
        try:
            killed = kill_the_waiting(copied, process.poll)
        finally:
            (copied / HOLD).unlink()
        found = finish_score(process, copied)
    assert_same_scores(found, day)
    assert_only_models_hold_gpus(found)
    part = (killed["stage"], killed["partition"])
    again = [task for task in found.tasks if (task["stage"], task["partition"]) == part]
    assert len(again) > 1
    assert {task["executor"] for task in again} > {killed["executor"]}
    assert [one for one in found.log.of("TaskEnd") if one["Task End Reason"]["Reason"] == "ExecutorLostFailure"]
    # Each worker's executors are given what its own script found, and a task what its executor holds.
    assert {(*task["addresses"], task["device"]) for task in found.tasks} == {("3", "cuda:3"), ("5", "cuda:5")}


def kill_the_waiting(folder: Path, ended) -> dict[str, object]:
    """Kill the executor whose task waits in mid-stage; returns what that task wrote down."""
    end = time.monotonic() + HELD_SECONDS
    while not (folder / HELD).exists() or not (folder / HELD).read_text():
        assert ended() is None, "scoring ended before a task was held"
        assert time.monotonic() < end, f"no task was held within {HELD_SECONDS} s"
        time.sleep(0.1)
    held = json.loads((folder / HELD).read_text())
    os.kill(held["executor"], signal.SIGKILL)
    return held
