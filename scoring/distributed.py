"""One function in several processes at once, on Spark executors (pyspark's TorchDistributor)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession

from etl.config import SparkConfig
from etl.session import GPU_PROFILE, GPU_TRAINING_PROFILE


def for_training(config: SparkConfig) -> SparkConfig:
    """The settings of a session that trains on executors: in profile ``gpu`` each of its tasks holds a GPU."""
    return replace(config, profile=GPU_TRAINING_PROFILE) if config.profile == GPU_PROFILE else config


def on_executors(spark: SparkSession, processes: int, function: Callable[..., Any], *args: Any) -> Any:
    """Call ``function(*args)`` in ``processes`` processes that know each other as torch.distributed wants it.

    On a cluster each is a task of one barrier stage, with the GPUs of the task where the session's tasks have some; in
    local mode they are processes beside the driver. Returns what rank 0 returned. Paths must mean the same everywhere.
    """
    master = spark.sparkContext.master or ""
    local = master == "local" or master.startswith("local[")
    gpus = float(spark.conf.get("spark.task.resource.gpu.amount", "0") or 0) > 0
    distributor = TorchDistributor(num_processes=processes, local_mode=local, use_gpu=gpus)
    return distributor.run(function, *args)
