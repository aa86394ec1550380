"""Which sessions get a profile for the stages that run a model, and which are refused before they wait for ever."""

from types import SimpleNamespace

import pytest

from etl.config import SparkConfig
from scoring.config import PrerankConfig, ScoreConfig
from scoring.distributed import for_training
from scoring.errors import ScoringError
from scoring.resource_profiles import DISCOVERY_SCRIPT, in_own_stage, scoring_profile

GPU = PrerankConfig(spark=SparkConfig("gpu"), score=ScoreConfig(gpus_per_executor=2, gpus_per_task=0.25))
DYNAMIC = {"spark.dynamicAllocation.enabled": "true"}
WITH_GPUS = {"spark.dynamicAllocation.enabled": "false", "spark.executor.resource.gpu.amount": "1"}


def session(master: str, application: str = "app-1", **conf: str):
    settings = {"spark.master": master, **conf}
    conf = SimpleNamespace(getAll=lambda: list(settings.items()))
    return SimpleNamespace(sparkContext=SimpleNamespace(getConf=lambda: conf, applicationId=application))


@pytest.mark.parametrize("profile", ["local", "cpu", "gpu_training", "rapids"])
def test_other_profiles_leave_stages_as_they_are(profile):
    assert scoring_profile(PrerankConfig(spark=SparkConfig(profile)), session("local[2]")) is None


def test_tasks_that_all_hold_gpus_need_no_profile():
    assert scoring_profile(GPU, session("yarn", **WITH_GPUS, **{"spark.task.resource.gpu.amount": "0.5"})) is None


@pytest.mark.parametrize("master", ["yarn", "k8s://host", "spark://host:7077", "local-cluster[2,1,1024]"])
def test_dynamic_allocation_asks_for_executors_with_gpus(master):
    found = scoring_profile(GPU, session(master, **DYNAMIC, **{"spark.executor.cores": "4"}))
    assert found is not None
    executors = found.executorResources["gpu"]
    assert (executors.amount, executors.discoveryScript, executors.vendor) == (2, str(DISCOVERY_SCRIPT), "nvidia.com")
    assert found.taskResources["gpu"].amount == 0.25


@pytest.mark.parametrize("master", ["yarn", "k8s://host", "spark://host:7077"])
def test_without_it_tasks_take_turns_at_the_gpus_of_the_executors(master):
    found = scoring_profile(GPU, session(master, **WITH_GPUS))
    assert found is not None
    assert found.taskResources["gpu"].amount == 0.25
    assert "gpu" not in found.executorResources


def test_a_session_has_one_profile():
    first = scoring_profile(GPU, session("yarn", **WITH_GPUS))
    assert scoring_profile(GPU, session("yarn", **WITH_GPUS)) is first
    assert scoring_profile(GPU, session("yarn", "app-2", **WITH_GPUS)) is not first


@pytest.mark.parametrize(
    ("master", "conf", "said"),
    [
        ("local[2]", DYNAMIC, r"no GPUs on master 'local\[2\]'.*spark.profile=cpu"),
        ("yarn", {}, "they have 0 GPUs .*--conf spark.executor.resource.gpu.amount=2"),
        ("spark://host:7077", DYNAMIC, "spark.executor.cores is not set"),
    ],
)
def test_what_could_never_be_scheduled_is_refused(master, conf, said):
    with pytest.raises(ScoringError, match=said):
        scoring_profile(GPU, session(master, **conf))


def test_without_a_profile_nothing_is_moved():
    frame = object()
    assert in_own_stage(frame, None, 4, "request_id") is frame


def test_training_holds_gpus_in_every_task():
    assert for_training(SparkConfig("gpu", {"a": "b"})) == SparkConfig("gpu_training", {"a": "b"})
    assert for_training(SparkConfig("cpu")) == SparkConfig("cpu")


@pytest.mark.parametrize(
    "wrong", [{"device": "gpu"}, {"gpus_per_task": 0}, {"gpus_per_task": 2}, {"gpus_per_executor": 0}]
)
def test_amounts_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=r"device|gpus_per"):
        ScoreConfig(**wrong)
