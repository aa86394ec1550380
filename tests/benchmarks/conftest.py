"""Benchmarks run with the settings of a laptop's job, not with those that make small tests start fast."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    from etl.config import SparkConfig
    from etl.session import spark_session

    session = spark_session(SparkConfig(conf={"spark.driver.memory": "8g"}), app="prerank-bench")
    yield session
    session.stop()
