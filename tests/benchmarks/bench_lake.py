"""A lake of simulated events for the interaction benchmarks, built once per size and kept under scratch/bench."""

from collections.abc import Iterable
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from etl.config import EtlConfig, EventsConfig, ExportConfig, HeadConfig, InteractionsConfig, LakeConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.contract.settings import digest
from etl.definitions import definition_hash
from etl.events import EVENT_COLUMNS, typed_rows
from etl.lake import Lake
from etl.runs import Run
from etl.simulate.blocks import EVENTS_DDL, events_of, plan_log
from etl.simulate.config import SimulateConfig
from etl.simulate.job import blocks_frame
from etl.simulate.world import WorldSpec
from etl.write import Output, replace_partitions

SCRATCH = Path(__file__).parents[2] / "scratch" / "bench"
END = "2026-03-31"
ACTIONS = ("impression", "click", "save", "purchase")
WINDOWS = (7, 14, 30, 90)


def counts_only(root: Path, windows: Iterable[int] = WINDOWS) -> EtlConfig:
    """Sixteen windowed counts of every pair: what the other engines compute as well."""
    return EtlConfig(
        lake=LakeConfig(str(root / "lake")),
        events=EventsConfig(actions=ACTIONS, segments=()),
        interactions=InteractionsConfig(
            windows_days=tuple(windows), families=("cnt",), top_items_per_query=0, days_per_job=30
        ),
        heads=(HeadConfig("engagement", ACTIONS[1:]),),
        export=ExportConfig(cross_families=("cnt",)),
    )


def lake_of(spark: SparkSession, events: int, days: int) -> tuple[Lake, EtlConfig]:
    """A lake of about ``events`` simulated events over the ``days`` up to END; the noise of the log is left out."""
    config, span = counts_only(SCRATCH / f"{events}-{days}"), DateRange(shift_ds(END, 1 - days), END)
    lake = Lake(spark, config.lake.root)
    if not lake.exists(c.RUNS):
        run = Run("bench", digest(config), definition_hash(c.EVENTS, config))
        frame = _events(spark, events, span, config)
        replace_partitions(lake, [Output(c.EVENTS, frame, span, ("query_key", "event_id"))], run)
    return lake, config


def repeated_lake(spark: SparkSession, events: int, days: int, times: int) -> tuple[Lake, EtlConfig]:
    """The log of ``lake_of``, ``times`` one after the other up to END; half of the queries return, others are new.

    Simulating is what takes longest: 30 million events take eight minutes on two slow cores.
    """
    once, _ = lake_of(spark, events, days)
    config = counts_only(SCRATCH / f"{events}-{days}-times-{times}")
    span = DateRange(shift_ds(END, 1 - days * times), END)
    lake = Lake(spark, config.lake.root)
    if not lake.exists(c.RUNS):
        run = Run("bench", digest(config), definition_hash(c.EVENTS, config))
        frame = _repeated(once.read(c.EVENTS), days, times)
        replace_partitions(lake, [Output(c.EVENTS, frame, span, ("query_key", "event_id"))], run)
    return lake, config


def skewed_lake(spark: SparkSession, events: int, days: int = 30) -> tuple[Lake, EtlConfig]:
    """Plain events without any order: a query with a fifth of them, an item with a tenth, a day fifty times others."""
    config, span = counts_only(SCRATCH / f"skewed-{events}"), DateRange(shift_ds(END, 1 - days), END)
    lake = Lake(spark, config.lake.root)
    if not lake.exists(c.RUNS):
        run = Run("bench", digest(config), definition_hash(c.EVENTS, config))
        frame = _skewed_events(spark, events, days)
        replace_partitions(lake, [Output(c.EVENTS, frame, span, ("query_key", "event_id"))], run)
    return lake, config


def _repeated(events: DataFrame, days: int, times: int) -> DataFrame:
    ago = F.col("ago")
    own = (F.pmod(F.xxhash64("query_key"), F.lit(2)) == 1) & (ago > 0)
    suffix = F.concat(F.lit(" "), ago.cast("string"))
    of_a_time = {name: F.concat(name, suffix) for name in ("event_id", "request_id")}
    of_a_time |= {name: F.when(own, F.concat(name, suffix)).otherwise(F.col(name)) for name in ("query", "query_key")}
    earlier = F.date_sub(F.col("ds").cast("date"), (ago * days).cast("int"))
    times_of = {"ts": F.col("ts") - F.make_dt_interval(ago * days), "ds": F.date_format(earlier, "yyyy-MM-dd")}
    each = events.withColumn("ago", F.explode(F.array(*map(F.lit, range(times)))))
    return each.withColumns(of_a_time | times_of).select(*events.columns)


def _skewed_events(spark: SparkSession, events: int, days: int) -> DataFrame:
    number, last = F.abs(F.xxhash64("id")), F.lit(END).cast("date")
    age = F.when(F.pmod(number, F.lit(49 + days)) < 50, 0).otherwise(1 + F.pmod(number, F.lit(days - 1)))
    query = F.when(F.rand(1) < 0.2, "heavy").otherwise(F.concat(F.lit("query "), F.pmod(number, F.lit(50_000))))
    any_item = F.concat(F.lit("item "), F.pmod(F.xxhash64("id", F.lit(1)), F.lit(200_000)))
    nothing = F.array().cast("array<string>")
    return spark.range(events).select(
        F.col("id").cast("string").alias("event_id"),
        F.col("id").cast("string").alias("request_id"),
        F.timestamp_seconds((F.unix_date(last) - age) * 86400).alias("ts"),
        F.pmod(number, F.lit(10_000)).cast("string").alias("user_id"),
        query.alias("query"),
        query.alias("query_key"),
        F.when(F.rand(2) < 0.1, "everywhere").otherwise(any_item).alias("item_id"),
        F.when(F.rand(3) < 0.8, "impression").otherwise("click").alias("action"),
        F.lit(1).alias("position"),
        F.map_from_arrays(nothing, nothing).alias("segments"),
        F.date_format(F.date_sub(last, age.cast("int")), "yyyy-MM-dd").alias("ds"),
    )


def _events(spark: SparkSession, events: int, span: DateRange, config: EtlConfig) -> DataFrame:
    plan = plan_log(WorldSpec(1, events, span, SimulateConfig()))
    raw = blocks_frame(spark, plan, plan.event_blocks, events_of, EVENTS_DDL).where("kind = 0 AND NOT outside")
    return typed_rows(raw.drop("kind", "outside"), config.events, span).where("reason IS NULL").select(*EVENT_COLUMNS)
