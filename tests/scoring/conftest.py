"""One lake with candidates for all tests of scoring; what they write there, each of them can live with."""

from typing import TYPE_CHECKING

import pytest

from tests.etl.conftest import built

__all__ = ["built"]

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.scoring.served_lake import Served


@pytest.fixture(scope="session")
def served(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> "Served":
    from tests.scoring.served_lake import served_lake

    return served_lake(spark, tmp_path_factory.mktemp("served"))
