"""Spark sessions by named profile: local for a laptop, cpu and gpu for clusters.

On a cluster spark-submit decides master, memory and cores; a profile only adds what prerank's results depend on
(UTC, Delta, ANSI arithmetic) and what its plans were measured with.
"""

import os
import sys
from pathlib import Path

from pyspark import __version__ as spark_version
from pyspark.sql import SparkSession

from etl.config import SparkConfig
from etl.contract.errors import UnknownNameError
from etl.java import require_java

DELTA_PACKAGE = "io.delta:delta-spark_4.1_2.13:4.4.0"

#: What the tables' contents depend on: the same in every profile.
_COMMON = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    # Per-key sketches: the default gives up on hash aggregation after 128 keys and sorts instead.
    "spark.sql.objectHashAggregate.sortBased.fallbackThreshold": "200000",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # The writer sizes its files itself, see etl.write.
    "spark.databricks.delta.optimizeWrite.enabled": "false",
}

_PROFILES = {
    "local": {
        "spark.sql.shuffle.partitions": "4",
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.driver.memory": "4g",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "localhost",
        "spark.driver.bindAddress": "127.0.0.1",
    },
    "cpu": {
        "spark.sql.adaptive.enabled": "true",
        "spark.sql.adaptive.skewJoin.enabled": "true",
        "spark.databricks.delta.snapshotPartitions": "16",
    },
    "gpu": {
        "spark.sql.adaptive.enabled": "true",
        "spark.databricks.delta.snapshotPartitions": "16",
        "spark.executor.resource.gpu.amount": "1",
        "spark.task.resource.gpu.amount": "1",
    },
}


def profile_conf(config: SparkConfig) -> dict[str, str]:
    """The Spark settings of a profile, with the user's own on top; UnknownNameError for an unknown profile."""
    if config.profile not in _PROFILES:
        raise UnknownNameError("spark profile", config.profile, _PROFILES)
    return {**_COMMON, **_PROFILES[config.profile], **config.conf}


def delta_conf(ivy_home: Path | None = None) -> dict[str, str]:
    """Delta's jars: those that Spark's resolver has fetched before, else the coordinates for it to fetch.

    Naming cached jars saves the resolver's start, some 5 seconds a session.
    """
    group, artifact, version = DELTA_PACKAGE.split(":")
    cache = (ivy_home or Path.home() / ".ivy2.5.2") / "jars"
    if (cache / f"{group}_{artifact}-{version}.jar").is_file():
        jars = sorted(cache.glob(f"{group}_*-{version}.jar"))
        return {"spark.jars": ",".join(str(jar) for jar in jars)}
    return {"spark.jars.packages": DELTA_PACKAGE}


def spark_session(config: SparkConfig, app: str = "prerank") -> SparkSession:
    """The one session of this process, started if there is none.

    Raises JavaError when no usable Java is found, UnknownNameError for an unknown profile.
    """
    conf = profile_conf(config)
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not submitted:
        os.environ["JAVA_HOME"] = require_java()
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        if "spark.jars" not in conf and "spark.jars.packages" not in conf:
            conf = delta_conf() | conf
        if config.profile == "local":
            conf = {"spark.master": "local[*]"} | conf
    builder = SparkSession.Builder().appName(app)
    for key, value in conf.items():
        # A spark-submit line wins over the profile's sizes, never over what the results depend on.
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def versions() -> dict[str, str]:
    """What the run record says about the engine."""
    return {"spark": spark_version, "delta": DELTA_PACKAGE.rsplit(":", 1)[1]}
