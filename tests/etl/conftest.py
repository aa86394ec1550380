"""One small lake, built once for all tests of etl; tests that write work on a copy of its folder."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from etl.config import EtlConfig
from tests.etl import reference
from tests.etl.logs import DAYS, EXPORT_DAYS, SNAPSHOTS, items_frame, raw_log, sample_items, sample_log, small_config

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from etl.ingest import IngestReport
    from etl.lake import Lake


@dataclass(frozen=True)
class Built:
    """The sample log after ingest, interactions and export. Nothing in it may be written again."""

    spark: "SparkSession"
    config: EtlConfig
    report: "IngestReport"
    export: Path
    events: list[reference.Event]
    """What the reference keeps of the log."""

    def lake(self) -> "Lake":
        from etl.lake import Lake

        return Lake(self.spark, self.config.lake.root)


@pytest.fixture(scope="session")
def built(spark: "SparkSession", tmp_path_factory: pytest.TempPathFactory) -> Built:
    from etl.contract import columns as c
    from etl.contract.dates import DateRange
    from etl.export import export_training_data
    from etl.ingest import ingest_catalogue, ingest_events
    from etl.interactions import build_interactions
    from etl.lake import Lake

    root = tmp_path_factory.mktemp("built")
    config = small_config(root / "lake")
    lake = Lake(spark, config.lake.root)
    report = ingest_events(lake, raw_log(spark, sample_log()), config, DAYS, "sample")
    for ds in SNAPSHOTS:
        ingest_catalogue(lake, items_frame(spark, sample_items(ds)), c.ITEMS, config, DateRange(ds, ds), "items")
    build_interactions(lake, config, DAYS)
    export_training_data(lake, config, EXPORT_DAYS, root / "export")
    return Built(spark, config, report, root / "export", reference.kept(sample_log(), DAYS, config))


@pytest.fixture
def copied(built: Built, tmp_path: Path) -> Callable[..., tuple["Lake", EtlConfig]]:
    """Make a copy of the built lake to write to; ``tables`` limits what is copied."""
    import dataclasses

    from etl.config import LakeConfig
    from etl.lake import Lake

    def copy(*tables: str) -> tuple[Lake, EtlConfig]:
        source, target = Path(built.config.lake.root), tmp_path / "lake"
        for table in tables or [path.name for path in source.iterdir() if path.name != "_quality"]:
            shutil.copytree(source / table, target / table)
        config = dataclasses.replace(built.config, lake=LakeConfig(root=str(target)))
        return Lake(built.spark, str(target)), config

    return copy
