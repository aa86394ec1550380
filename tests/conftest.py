"""One Spark session for the whole run: small, quiet, Delta on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.config import EtlConfig, LakeConfig


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first."""
    items.sort(key=lambda item: "slow" not in item.keywords)


@pytest.fixture(scope="session")
def spark() -> Iterator["SparkSession"]:  # noqa: F821
    from etl.config import SparkConfig
    from etl.session import spark_session

    session = spark_session(
        SparkConfig(
            conf={
                "spark.master": "local[2]",
                "spark.sql.shuffle.partitions": "2",
                "spark.databricks.delta.snapshotPartitions": "1",
                "spark.driver.memory": "2g",
                # A short run never earns back what the second compiler costs, nor a collector's own threads.
                "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m "
                "-XX:+UseSerialGC",
                "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
                # For a handful of rows, writing and compiling Java takes longer than interpreting.
                "spark.sql.codegen.wholeStage": "false",
                "spark.sql.codegen.factoryMode": "NO_CODEGEN",
                # Nor is there anything to learn from a stage of a few rows for the next one's plan.
                "spark.sql.adaptive.enabled": "false",
                # What the interface would show of finished queries fills a small heap.
                "spark.sql.ui.retainedExecutions": "1",
                "spark.ui.retainedJobs": "10",
                "spark.ui.retainedStages": "10",
            }
        ),
        app="prerank-tests",
    )
    yield session
    session.stop()


@pytest.fixture
def config(tmp_path: Path) -> EtlConfig:
    """The default configuration over an empty lake."""
    return EtlConfig(lake=LakeConfig(root=str(tmp_path / "lake")))
