"""One built lake for every fault; each test breaks a copy of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.program import Program, made

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def whole(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A lake that nothing has happened to. Nothing in it may be written again."""
    return made(spark, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def copied(whole: Program, tmp_path: Path) -> Callable[..., Program]:
    """Make a copy of the whole lake to break, in ``folder`` or a temporary one."""
    return lambda folder=tmp_path / "copy": whole.copied(folder)
