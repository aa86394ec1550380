"""The daily refresh of the windowed table against recomputing it from all events, in one run on the same cores.

    make bench-interactions                                       30 million events, 90 days
    make bench-interactions EVENTS=300000 ARGS="-k refresh"       the short form
    make bench-interactions EVENTS=90000000 ARGS="-k growth_with" what longer windows cost, of 30 million in a year
    make bench-interactions ARGS="-k growth_of"                   the same of four times 30 million in 360 days
    make bench-interactions ARGS="-k a_year"                      the refresh against recomputing 360 days of that log

The peers read ``query_key, item_id, action, ds`` of the lake's own event files (so they are spared what ingest did) and
write the same 16 windowed counts to Parquet; prerank builds the day's partials, the tiles that are due and the windows,
passes its gate, commits to Delta and records the run. Spark is warm on both sides.
"""

import dataclasses
import gc
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import duckdb
import polars as pl
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.interactions import build_interactions
from etl.lake import Lake
from etl.tiles import TILE_DAYS, cover, table_of
from tests.benchmarks.bench_lake import ACTIONS, END, SCRATCH, WINDOWS, lake_of, repeated_lake, skewed_lake

EVENTS = int(os.environ.get("PRERANK_BENCH_EVENTS") or 30_000_000)
GROWTH_EVENTS = EVENTS // 3
DAYS = 90
RESULTS = Path(__file__).parent / "results"
DERIVED = (c.INTERACTIONS_DAILY, c.QUERIES_DAILY, *map(table_of, TILE_DAYS), c.INTERACTIONS)


def test_refresh_of_a_day_against_recomputing_it(spark: SparkSession) -> None:
    lake, config = lake_of(spark, EVENTS, DAYS)
    for table in DERIVED:
        shutil.rmtree(Path(lake.path(table)), ignore_errors=True)
    yesterday, told = shift_ds(END, -1), _Laps()
    one_pass = _seconds(lambda: _counted(lake.read(c.EVENTS)))
    first = _seconds(lambda: build_interactions(lake, config, DateRange(yesterday, yesterday), told))
    told.clear()
    refresh = _seconds(lambda: build_interactions(lake, config, DateRange(END, END), told))
    result = {
        **_against_peers(lake, WINDOWS, refresh, told),
        "first_build_s": first,
        "one_pass_over_events_s": one_pass,
        "first_build_over_pass": round(first / one_pass, 3),
        "bytes_per_million_events": _bytes(lake),
    }
    _report("interactions", result)


def test_refresh_of_a_day_against_recomputing_a_year(spark: SparkSession) -> None:
    lake, config = repeated_lake(spark, EVENTS, DAYS, 4)
    windows, told = (7, 30, 90, 360), _Laps()
    config = dataclasses.replace(config, interactions=dataclasses.replace(config.interactions, windows_days=windows))
    for ds in (shift_ds(END, -1), END):
        build_interactions(lake, config, DateRange(ds, ds))
        told.clear()
        # Of the day before as well, so that Spark is warm.
        refresh = _seconds(partial(build_interactions, lake, config, DateRange(ds, ds), told, again=True))
    _report("interactions_year", _against_peers(lake, windows, refresh, told))


def _against_peers(lake: Lake, windows: Sequence[int], refresh: float, told: "_Laps") -> dict[str, Any]:
    """What a refresh of END took, and what each peer takes to recompute the same table."""
    rows = lake.read(c.INTERACTIONS, DateRange(END, END)).count()
    inside, out = lake.read(c.EVENTS, DateRange(shift_ds(END, 1 - max(windows)), END)), SCRATCH / "peers"
    peers = {"duckdb": _duckdb, "polars": _polars, "spark": _spark}
    seconds = {}
    for name, recompute in peers.items():
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        gc.collect()
        seconds[name] = _seconds(partial(recompute, inside, windows, out))
        assert _parquet_rows(out) == rows, name
    return {
        "events": inside.count(),
        "days": max(windows),
        "rows": rows,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "refresh_s": refresh,
        "steps_s": told.laps,
        "peers_s": seconds,
        "refresh_over_peer": {name: round(refresh / other, 3) for name, other in seconds.items()},
    }


@pytest.mark.parametrize("longest", [30, 90, 365])
def test_growth_with_the_window(spark: SparkSession, longest: int) -> None:
    lake, config = lake_of(spark, GROWTH_EVENTS, 365)
    _growth(spark, lake, config, longest, GROWTH_EVENTS)


@pytest.mark.parametrize("longest", [30, 90, 360])
def test_growth_of_a_large_log(spark: SparkSession, longest: int) -> None:
    lake, config = repeated_lake(spark, EVENTS, DAYS, 4)
    _growth(spark, lake, config, longest, 4 * EVENTS)


def _growth(spark: SparkSession, lake: Lake, config: EtlConfig, longest: int, events: int) -> None:
    """The windows of one day, partials and tiles built: what a longer window costs."""
    windows = dataclasses.replace(config.interactions, windows_days=(7, longest))
    config = dataclasses.replace(config, interactions=windows)
    build_interactions(lake, config, DateRange(END, END))
    before = _moved(spark)
    seconds = _seconds(lambda: build_interactions(lake, config, DateRange(END, END)))
    after = _moved(spark)
    inside = lake.read(c.EVENTS, DateRange(END, END).widen(before=longest - 1)).count()
    result = {
        "events_in_window": inside,
        "windows_s": seconds,
        "parts": len(cover(END, (7, longest))),
        "rows": lake.read(c.INTERACTIONS, DateRange(END, END)).count(),
        **{name: after[name] - before[name] for name in before},
    }
    _report(f"growth_{events // 1_000_000}m_{longest}_days", result)


def test_no_task_gets_much_more_than_the_others(spark: SparkSession) -> None:
    """A query with a fifth of all events, an item under every query, a day fifty times the others: bytes by task."""
    lake, config = skewed_lake(spark, EVENTS // 6)
    for table in DERIVED:
        shutil.rmtree(Path(lake.path(table)), ignore_errors=True)
    day, before = DateRange(END, END), len(_stages(spark))
    spark.conf.set("spark.sql.shuffle.partitions", "16")
    seconds = _seconds(lambda: build_interactions(lake, config, day))
    spark.conf.set("spark.sql.shuffle.partitions", "4")
    spread = {}
    for stage in _stages(spark)[: len(_stages(spark)) - before]:
        tasks = [task.taskMetrics().get().shuffleReadMetrics() for task in _tasks(spark, stage)]
        sizes = sorted(one.localBytesRead() + one.remoteBytesRead() for one in tasks)
        if len(sizes) == 16 and sizes[-1] > 1_000_000:
            largest = {"largest_bytes": sizes[-1], "median_bytes": sizes[8], "ratio": round(sizes[-1] / sizes[8], 2)}
            spread[f"{stage.stageId()} {stage.name().split(' at ')[0]}"] = largest
    _report("skew", {"events": lake.read(c.EVENTS).count(), "seconds": seconds, "stages": spread})


def _tasks(spark: SparkSession, stage: Any) -> list[Any]:
    held = spark.sparkContext._jsc.sc().statusStore().taskList(stage.stageId(), stage.attemptId(), 10_000)
    return [held.apply(place) for place in range(held.size())]


def _moved(spark: SparkSession) -> dict[str, int]:
    """Bytes read, rows (tables of many pairs, most of them) and bytes shuffled by all stages so far."""
    found = _stages(spark)
    return {
        "bytes_read": sum(stage.inputBytes() for stage in found),
        "rows_shuffled": sum(stage.shuffleWriteRecords() for stage in found),
        "bytes_shuffled": sum(stage.shuffleWriteBytes() for stage in found),
    }


def _stages(spark: SparkSession) -> list[Any]:
    """Newest first."""
    context = spark.sparkContext
    quantiles = context._gateway.new_array(context._jvm.double, 0)
    held = context._jsc.sc().statusStore().stageList(None, False, False, quantiles, None)
    return [held.apply(place) for place in range(held.size())]


class _Laps:
    """Seconds by step, as the job tells them."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, done: str) -> None:
        now = time.perf_counter()
        self.laps[done.rpartition(":")[0]] = round(now - self._last, 2)
        self._last = now


def _counted(events: Any) -> None:
    """One pass over the raw events: every pair's counts, without windows, written nowhere."""
    sums = [F.count_if(F.col("action") == action).alias(action) for action in ACTIONS]
    events.groupBy("query_key", "item_id").agg(*sums).write.format("noop").mode("overwrite").save()


def _files(frame: DataFrame) -> list[str]:
    return sorted(unquote(urlsplit(uri).path) for uri in frame.inputFiles())


def _duckdb(events: DataFrame, windows: Sequence[int], out: Path) -> None:
    sums = ", ".join(
        f"count(*) FILTER (action = '{action}' AND ds >= '{shift_ds(END, 1 - days)}')::BIGINT"
        f" AS {c.window_count(action, days)}"
        for action, days in product(ACTIONS, windows)
    )
    with duckdb.connect() as connection:
        connection.execute(f"SET threads = {os.cpu_count()}; SET preserve_insertion_order = false")
        query = (
            f"SELECT query_key, item_id, {sums} FROM read_parquet({_files(events)}, hive_partitioning = true, "
            f"hive_types = {{'ds': VARCHAR}}) WHERE ds >= '{shift_ds(END, 1 - max(windows))}' GROUP BY ALL"
        )
        connection.execute(f"COPY ({query}) TO '{out}/table.parquet' (FORMAT parquet)")


def _polars(events: DataFrame, windows: Sequence[int], out: Path) -> None:
    frame = pl.scan_parquet(_files(events), hive_partitioning=True, hive_schema={"ds": pl.String})
    sums = [
        ((pl.col("action") == action) & (pl.col("ds") >= shift_ds(END, 1 - days))).sum().cast(pl.Int64)
        .alias(c.window_count(action, days))
        for action, days in product(ACTIONS, windows)
    ]  # fmt: skip
    inside = frame.filter(pl.col("ds") >= shift_ds(END, 1 - max(windows)))
    inside.group_by("query_key", "item_id").agg(sums).sink_parquet(out / "table.parquet")


def _spark(events: DataFrame, windows: Sequence[int], out: Path) -> None:
    sums = [
        F.count_if((F.col("action") == action) & (F.col("ds") >= shift_ds(END, 1 - days)))
        .alias(c.window_count(action, days))
        for action, days in product(ACTIONS, windows)
    ]  # fmt: skip
    events.groupBy("query_key", "item_id").agg(*sums).write.mode("overwrite").parquet(str(out / "table"))


def _parquet_rows(out: Path) -> int:
    return int(pl.scan_parquet(str(out / "**/*.parquet")).select(pl.len()).collect().item())


def _bytes(lake: Lake) -> dict[str, int]:
    millions = lake.read(c.EVENTS).count() / 1e6
    sizes = {}
    for table in (c.EVENTS, *DERIVED):
        files = _files(lake.read(table)) if lake.exists(table) else []
        sizes[table] = round(sum(Path(file).stat().st_size for file in files) / millions)
    return sizes


def _seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return round(time.perf_counter() - begun, 2)


def _report(name: str, result: dict[str, Any]) -> None:
    text = json.dumps(result, indent=2)
    print(f"\n{text}")
    if EVENTS >= 1_000_000:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-s"]))
