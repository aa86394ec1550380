"""An export's normalised layout against a flat one, where every row repeats its sequence and its texts.

    make bench-train ARGS="-k layouts"      a part of the same target as loading and training

Both are written from the same joined rows of one simulated lake, by the same Spark; the time of the join is in both.
"""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from etl.caching import Cached
from etl.config import EtlConfig, ItemsConfig, LakeConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.export import export_training_data, split_days
from etl.ingest import ingest_catalogue, ingest_events
from etl.interactions import build_interactions
from etl.lake import Lake
from etl.simulate.config import SimulateConfig
from etl.simulate.job import simulate
from etl.sources import get_source
from etl.training_frames import training_frames
from tests.benchmarks.bench_train import report

EVENTS = int(os.environ.get("PRERANK_LAYOUT_EVENTS") or 1_000_000)
DAYS, EXPORTED = DateRange("2026-01-01", "2026-01-21"), DateRange("2026-01-14", "2026-01-21")
SEQUENCE = 100


def test_bytes_and_time_of_both_layouts(spark: SparkSession, tmp_path: Path) -> None:
    lake, config = _lake(spark, tmp_path)
    # Both warm: the first export of a session pays for its compilation.
    export_training_data(Lake(spark, lake.root), config, EXPORTED, tmp_path / "warm")
    seconds = {
        "normalised": _seconds(
            lambda: export_training_data(Lake(spark, lake.root), config, EXPORTED, tmp_path / "normalised")
        ),
        "flat": _seconds(lambda: _flat(Lake(spark, lake.root), config, tmp_path / "flat")),
    }
    sizes = {name: _bytes(tmp_path / name) for name in seconds}
    rows = spark.read.parquet(str(tmp_path / "flat")).count()
    lengths = spark.read.parquet(str(tmp_path / "flat")).agg(F.avg(F.size("history_items")).alias("mean"))
    [mean] = (row.mean for row in lengths.toLocalIterator())
    report(
        "layout",
        {
            "events": EVENTS,
            "rows": rows,
            "mean_sequence": mean,
            "bytes_per_row": {name: size / rows for name, size in sizes.items()},
            "seconds": seconds,
            "flat_over_normalised": {
                "bytes": sizes["flat"] / sizes["normalised"],
                "seconds": seconds["flat"] / seconds["normalised"],
            },
        },
    )
    assert rows


def _lake(spark: SparkSession, root: Path) -> tuple[Lake, EtlConfig]:
    config = EtlConfig(
        lake=LakeConfig(str(root / "lake")),
        items=ItemsConfig(text=("text",), categories=("department", "category"), numerics=("price",)),
    )
    lake = Lake(spark, config.lake.root)
    simulate(spark, str(root / "raw"), EVENTS, 1, DAYS, SimulateConfig())
    read = get_source("parquet").read
    ingest_events(lake, read(spark, str(root / "raw" / "events"), c.EVENTS, {}, date_range=DAYS), config, DAYS, "raw")
    items = read(spark, str(root / "raw" / "items"), c.ITEMS, {}, date_range=DAYS)
    ingest_catalogue(lake, items, c.ITEMS, config, DAYS, "raw")
    build_interactions(Lake(spark, lake.root), config, EXPORTED.shift(-1))
    return lake, config


def _flat(lake: Lake, config: EtlConfig, out: Path) -> None:
    with Cached() as keep:
        frames = training_frames(lake, config, EXPORTED, split_days(EXPORTED, config), None, keep)
        histories = frames.histories.withColumnRenamed("ts", "ts_of_actions")
        rows = frames.rows.join(frames.items, "item").join(frames.queries, "query").join(histories, "user")
        rows = rows.select(*_flat_columns(frames.rows), "query_key", "item_id", "text", "categories", "numerics")
        rows.write.partitionBy("ds").parquet(out.as_uri())


def _flat_columns(rows: DataFrame) -> list[Column]:
    first = F.greatest(F.col("history_end") - SEQUENCE, F.lit(0))
    length = F.least(F.col("history_end"), F.lit(SEQUENCE))

    def seen(name: str) -> Column:
        return F.slice(name, first + 1, length)

    ages = F.transform(seen("ts_of_actions"), lambda ts: F.col("ts") - ts)
    plain = [F.col(name) for name in rows.columns if name not in ("item", "query", "user", "history_end")]
    return [*plain, seen("items").alias("history_items"), seen("actions").alias("history_actions"), ages.alias("ages")]


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _bytes(folder: Path) -> int:
    shutil.rmtree(folder / "arrays", ignore_errors=True)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
