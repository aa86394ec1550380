"""Spark sessions by named profile: local for a laptop, cpu and gpu for clusters.

On a cluster spark-submit decides master, memory and cores; a profile only adds what prerank's results depend on
(UTC, Delta, ANSI arithmetic) and what its plans were measured with.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from etl.config import SparkConfig
from etl.contract.errors import UnknownNameError, UsageError
from etl.java import require_java

DELTA_PACKAGE = "io.delta:delta-spark_4.1_2.13:4.4.0"

_PACKAGES = "spark.jars.packages"
_ZONE = "spark.sql.session.timeZone"

#: What the tables' contents depend on: the same in every profile.
_COMMON = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    _ZONE: "UTC",
    "spark.sql.ansi.enabled": "true",
    # Sets of items per request and the like: the default gives up on hash aggregation after 128 keys and sorts instead.
    "spark.sql.objectHashAggregate.sortBased.fallbackThreshold": "200000",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # Workers take whole tables (see etl.exchange): many plain rows at once, of long values as many as fit.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
    "spark.sql.execution.arrow.maxBytesPerBatch": str(64 * 1024 * 1024),
    # A task writes few days: their files may stand open together, and no row is sorted for them.
    "spark.sql.maxConcurrentOutputFileWriters": "16",
    # Ids of a large catalogue stay numbers in candidate sets, which are then read several times faster.
    "spark.hadoop.parquet.dictionary.page.size": str(4 * 1024 * 1024),
    # Files are skipped by their keys, which come first in every table; statistics of 40 counts a row only cost.
    "spark.databricks.delta.properties.defaults.dataSkippingNumIndexedCols": "6",
    # A run that writes nothing in the place of nothing still has a commit, which its record names.
    "spark.databricks.delta.skipRecordingEmptyCommits": "false",
    # Delta would refuse to read a version older than a week; prerank maintain keeps the files of those in use.
    "spark.databricks.delta.vacuum.enforceTimeTravelWithinDeletedFileRetentionDuration": "false",
    # The writer sizes its files itself, see etl.write.
    "spark.databricks.delta.optimizeWrite.enabled": "false",
}

_DAEMON = "spark.python.daemon.module"
#: What saves time and changes nothing else; a spark-submit line may say otherwise.
_CHEAPER = {
    # What Python workers are forked from.
    _DAEMON: "etl.worker_daemon",
    # PySpark would note which line makes each column, for the texts of errors: most of what making a column costs.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    # A day's refresh, with what Delta does for it, has some 170 generated classes, and Spark keeps a hundred: those
    # forgotten are compiled anew when they return, by Spark and by the JVM.
    "spark.sql.codegen.cache.maxEntries": "2000",
}
#: Python files come with a task: what starts before, on hosts that have nothing else of this program, is Spark's own.
_SENT_CODE = "spark.submit.pyFiles"

#: Wide aggregates compile to methods above 8000 bytes, which the JVM would otherwise only interpret.
JAVA_OPTIONS = "-XX:-DontCompileHugeMethods"
_LOGGING = Path(__file__).with_name("log4j2.properties").absolute()

#: Only stages that run a model hold GPUs, as scoring.resource_profiles has it.
GPU_PROFILE = "gpu"
#: Every task of the session holds one: training in a barrier stage, which knows neither profiles of its own nor
#: executors that come and go.
GPU_TRAINING_PROFILE = "gpu_training"

_PROFILES = {
    "local": {
        "spark.sql.shuffle.partitions": "4",
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.driver.memory": "4g",
        "spark.driver.extraJavaOptions": f"{JAVA_OPTIONS} -Dlog4j2.configurationFile={_LOGGING.as_uri()}",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "localhost",
        "spark.driver.bindAddress": "127.0.0.1",
    },
    "cpu": {
        "spark.executor.extraJavaOptions": JAVA_OPTIONS,
        "spark.sql.adaptive.enabled": "true",
        "spark.sql.adaptive.skewJoin.enabled": "true",
        "spark.databricks.delta.snapshotPartitions": "16",
    },
    GPU_PROFILE: {
        "spark.executor.extraJavaOptions": JAVA_OPTIONS,
        "spark.sql.adaptive.enabled": "true",
        "spark.sql.adaptive.skewJoin.enabled": "true",
        "spark.databricks.delta.snapshotPartitions": "16",
        "spark.dynamicAllocation.enabled": "true",
        # Without a shuffle service, executors stay while others may read what they have written.
        "spark.dynamicAllocation.shuffleTracking.enabled": "true",
    },
    GPU_TRAINING_PROFILE: {
        "spark.sql.adaptive.enabled": "true",
        "spark.databricks.delta.snapshotPartitions": "16",
        "spark.executor.resource.gpu.amount": "1",
        "spark.task.resource.gpu.amount": "1",
    },
    # Unmeasured: nobody has run it yet. The kernels of the interaction tables stay on the CPU; scans and joins move.
    "rapids": {
        "spark.jars.packages": f"{DELTA_PACKAGE},com.nvidia:rapids-4-spark_2.13:26.08.1",
        "spark.plugins": "com.nvidia.spark.SQLPlugin",
        "spark.rapids.sql.enabled": "true",
        "spark.rapids.sql.concurrentGpuTasks": "2",
        "spark.sql.adaptive.enabled": "true",
        "spark.executor.resource.gpu.amount": "1",
        "spark.task.resource.gpu.amount": "0.25",
    },
}


def profile_conf(config: SparkConfig) -> dict[str, str]:
    """The Spark settings of a profile, with the user's own on top.

    Raises UnknownNameError for an unknown profile, UsageError for a session in another zone than UTC.
    """
    if config.profile not in _PROFILES:
        raise UnknownNameError("spark profile", config.profile, _PROFILES)
    zone = config.conf.get(_ZONE, "UTC")
    if zone != "UTC":
        raise UsageError(f"spark.conf sets {_ZONE} to {zone}: days are UTC, leave it out")
    return {**_COMMON, **_CHEAPER, **_PROFILES[config.profile], **config.conf}


def delta_conf(ivy_home: Path | None = None, packages: Sequence[str] = ()) -> dict[str, str]:
    """Delta's jars: those that Spark's resolver has fetched before, else the coordinates for it to fetch.

    ``packages`` are coordinates of further jars. Naming cached jars saves the resolver's start, some 5 seconds a
    session.
    """
    jars = fetched_jars(ivy_home)
    named = {"spark.jars": ",".join(str(jar) for jar in jars)} if jars else {}
    asked = packages if jars else (DELTA_PACKAGE, *packages)
    return named | ({_PACKAGES: ",".join(asked)} if asked else {})


def with_jars(conf: Mapping[str, str], packages: Sequence[str]) -> dict[str, str]:
    """``conf`` with Delta's jars, unless it names jars itself, and with ``packages`` in any case."""
    if "spark.jars" not in conf and _PACKAGES not in conf:
        return {**delta_conf(packages=packages), **conf}
    named = [conf[_PACKAGES]] if _PACKAGES in conf else []
    return {**conf, **({_PACKAGES: ",".join([*named, *packages])} if packages else {})}


def fetched_jars(ivy_home: Path | None = None) -> list[Path]:
    """Delta's jars where Spark's resolver has left them; [] if it has not fetched them yet."""
    group, artifact, version = DELTA_PACKAGE.split(":")
    cache = (ivy_home or Path.home() / ".ivy2.5.2") / "jars"
    if not (cache / f"{group}_{artifact}-{version}.jar").is_file():
        return []
    return sorted(cache.glob(f"{group}_*-{version}.jar"))


def without_submitted(conf: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """``conf`` less what the spark-submit line or spark-defaults.conf has set already.

    They win over a profile's sizes, but neither over what the results depend on nor over the user's ``own`` settings.
    """
    # Connects to the JVM of spark-submit, which knows them; no SparkContext is started.
    SparkContext._ensure_initialized()
    submitted = SparkConf()
    given = {key for key in conf if submitted.contains(key)}
    if submitted.get(_SENT_CODE, ""):
        given.add(_DAEMON)
    return {key: value for key, value in conf.items() if key in _COMMON or key in own or key not in given}


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
        conf = with_jars(conf, config.packages)
        if config.profile == "local":
            conf = {"spark.master": "local[*]"} | conf
    else:
        conf = without_submitted(conf, config.conf)
    builder = SparkSession.Builder().appName(app)
    for key, value in conf.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    _look_up_once(session)
    return session


def _look_up_once(session: SparkSession) -> None:
    """What PySpark names for each column and each list of them: every time, the JVM looks in all of Spark's jars."""
    jvm: Any = session._jvm
    jvm.functions, jvm.PythonUtils = jvm.functions, jvm.PythonUtils
