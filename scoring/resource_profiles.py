"""Which stages of a job hold GPUs: with ``spark.profile: gpu`` those that run a model, and no others.

Spark can do that in two ways. With dynamic allocation, executors with GPUs are started for these stages and others for
the rest. Without, every executor keeps its GPUs, but only the tasks of these stages are given one, and all its cores
work at the rest.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from pyspark.resource import ExecutorResourceRequests, ResourceProfile, ResourceProfileBuilder, TaskResourceRequests
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl.session import GPU_PROFILE
from scoring.config import PrerankConfig, ScoreConfig
from scoring.devices import GPU
from scoring.errors import ScoringError

#: Prints the GPUs of a host as Spark wants to read them.
DISCOVERY_SCRIPT = Path(__file__).with_name("gpu_discovery.sh").absolute()

EXECUTOR_GPUS = "spark.executor.resource.gpu.amount"
TASK_GPUS = "spark.task.resource.gpu.amount"
DYNAMIC = "spark.dynamicAllocation.enabled"
EXECUTOR_CORES = "spark.executor.cores"


def scoring_profile(config: PrerankConfig, session: SparkSession) -> ResourceProfile | None:
    """What ``mapInArrow(..., profile=)`` takes for the stages that run a model; the same one all through a session.

    None where the session's own settings are right: in every profile but ``gpu``, and where each task of the session
    holds a GPU anyhow (``spark.task.resource.gpu.amount``). Raises ScoringError where Spark could not give such a stage
    GPUs: it would fail late, or wait for ever.
    """
    conf = dict(session.sparkContext.getConf().getAll())
    if config.spark.profile != GPU_PROFILE or _number(conf, TASK_GPUS) > 0:
        return None
    dynamic = conf.get(DYNAMIC, "false").lower() == "true"
    _require_schedulable(conf, dynamic, config.score)
    return _profile(session.sparkContext.applicationId, dynamic, config.score)


def in_own_stage(frame: DataFrame, profile: ResourceProfile | None, tasks: int, *key: str) -> DataFrame:
    """``frame``, ready for ``mapInArrow`` with ``profile``.

    A profile holds for a whole stage: spread anew by ``key``, what is read and joined before ends in a stage without
    GPUs. Without a profile nothing is moved.
    """
    # Of a hash, for rows that a join has placed by the key itself would stay where they are, and with them the join.
    return frame if profile is None else frame.repartition(tasks, F.xxhash64(*key))


# One profile a session: executors started for one are not used for another, be they as equal as they may.
@lru_cache(maxsize=1)
def _profile(application: str, dynamic: bool, score: ScoreConfig) -> ResourceProfile:
    builder = ResourceProfileBuilder().require(TaskResourceRequests().resource(GPU, score.gpus_per_task))
    if dynamic:
        script = score.gpu_discovery_script or str(DISCOVERY_SCRIPT)
        executors = ExecutorResourceRequests().resource(GPU, score.gpus_per_executor, script, score.gpu_vendor)
        builder = builder.require(executors)
    return builder.build


def _require_schedulable(conf: Mapping[str, str], dynamic: bool, score: ScoreConfig) -> None:
    """What Spark 4.1 asks for, and what it does not ask for but needs."""
    master = conf.get("spark.master", "")
    standalone = master.startswith(("spark://", "local-cluster"))
    if not (standalone or master == "yarn" or master.startswith("k8s://")):
        raise ScoringError(
            f"spark.profile is gpu, but Spark schedules no GPUs on master '{master}': that takes standalone, YARN or "
            "Kubernetes. Give --master, or set spark.profile=cpu (or local)"
        )
    if not dynamic and _number(conf, EXECUTOR_GPUS) < score.gpus_per_task:
        raise ScoringError(
            f"spark.profile is gpu and {DYNAMIC} is false, so the executors are those that the session began with, and "
            f"they have {_number(conf, EXECUTOR_GPUS):g} GPUs ({EXECUTOR_GPUS}) where a task needs "
            f"{score.gpus_per_task:g}: start with --conf {EXECUTOR_GPUS}={score.gpus_per_executor}, or allocate "
            f"dynamically with --conf {DYNAMIC}=true"
        )
    if dynamic and standalone and EXECUTOR_CORES not in conf:
        raise ScoringError(
            f"spark.profile is gpu on master '{master}', and {EXECUTOR_CORES} is not set: the first executors would "
            "take all cores of every worker, and those with GPUs would wait for ever. Set it, for example "
            "--executor-cores 4, and spark.dynamicAllocation.maxExecutors so that workers with GPUs have room for more"
        )


def _number(conf: Mapping[str, str], key: str) -> float:
    return float(conf.get(key) or 0)
