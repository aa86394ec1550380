"""The whole job in a scratch lake: what a scheduler runs day by day, in one process and one Spark session."""

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.cli import SIMULATED_DAYS
from etl.config import ItemsConfig, LakeConfig
from etl.contract.columns import CANDIDATES, EVENTS, ITEMS
from etl.contract.dates import DateRange
from etl.contract.errors import UsageError
from etl.contract.settings import Loaded
from etl.ingest import ingest_catalogue, ingest_events
from etl.interactions import build_interactions
from etl.simulate.config import SimulateConfig
from etl.simulate.job import simulate
from etl.sources import get_source
from models.cli import evaluate_models, train_model
from scoring.context import Context
from scoring.report import write_report
from scoring.score import score_candidates

MODELS = ("two_tower", "interactrank")
_MARK = ".prerank-demo"


@dataclass(frozen=True)
class DemoLog:
    """A raw log that the demo can run on."""

    source: str
    days: DateRange
    segments: tuple[str, ...]
    items: ItemsConfig
    raw: bool
    """Whether a simulator writes it first."""
    note: str
    one_user_in: int = 1
    """Thins out a log that a laptop would chew on for longer than a demo may last."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Of the section ``train``, where the user says nothing else."""


LOGS = {
    "simulate": DemoLog(
        source="parquet",
        days=SIMULATED_DAYS,
        segments=("country", "gender"),
        items=ItemsConfig(text=("text",), categories=("department", "category"), numerics=("price",)),
        raw=True,
        note="",
        # A few thousand requests: small steps, strong decay. By validation ndcg@10 over three seeds, two_tower gains
        # 0.02 over the defaults, and interactrank is as good as with them.
        training={"learning_rate": 0.001, "batch_requests": 48, "weight_decay": 10.0},
    ),
    "complete-journey": DemoLog(
        source="complete-journey",
        days=DateRange("2017-11-13", "2017-12-10"),
        segments=("age", "income"),
        items=ItemsConfig(text=("text",), categories=("department", "category", "brand")),
        raw=False,
        note=(
            "Complete Journey (84.51°): purchases that its publisher calls simulated on real shopping patterns. "
            "One household in eight, four weeks."
        ),
        one_user_in=8,
    ),
}

#: Of the log's days, the last ones that training, validation and test take; those before only feed the tables.
_EXPORT_DAYS, _VALIDATION_DAYS, _TEST_DAYS = 8, 1, 3
#: A log of three or four weeks has no longer windows.
_WINDOWS_DAYS = (7, 28)


def run_demo(context: Context, source: str, out: Path, events: int, seed: int) -> dict[str, Any]:
    """Run every verb over one log; returns the evaluation, the paths of what was made, the seconds of each step."""
    started = time.monotonic()
    log = LOGS[source]
    out = out.absolute()
    _clear(out)
    seconds: dict[str, float] = {}
    step = _stopwatch(context.log, seconds)
    context = _demo_context(context, log, out)
    config, lake = context.config, context.lake
    with step("start Spark"):
        spark = context.spark
    raw, truth = out / "raw", None
    if log.raw:
        with step(f"simulate {events:,} events"):
            simulate(spark, str(raw), events, seed, log.days, SimulateConfig())
        truth = str(raw / "truth" / "impressions")
    for table, days in ((EVENTS, log.days), (ITEMS, log.days), (CANDIDATES, _last(log.days, 1))):
        with step(f"ingest {table}"):
            frame = _thinned(
                get_source(log.source).read(spark, str(raw / table) if log.raw else None, table, {}, date_range=days),
                log.one_user_in,
            )
            if table == EVENTS:
                ingest_events(lake(), frame, config, days, source)
            else:
                ingest_catalogue(lake(), frame, table, config, days, source)
    exported = _last(log.days, _EXPORT_DAYS)
    with step("interactions"):
        build_interactions(lake(), config, exported.shift(-1), context.log)
    return _learn_and_score(context, step, exported, out, truth, log.note, started, seconds)


def _learn_and_score(
    context: Context, step: Callable[[str], Any], days: DateRange, out: Path, truth: str | None, note: str,
    started: float, seconds: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    from etl.export import export_training_data

    config, lake, data = context.config, context.lake, out / "export"
    with step("export"):
        export_training_data(lake(), config, days, data, truth)
    for name in MODELS:
        with step(f"train {name}"):
            train_model(data, name, None, context)
    with step("evaluate"):
        result = evaluate_models(data, ",".join(("bm25", *MODELS)), "test", context, note)
    model = Path(config.train.models_root) / MODELS[-1]
    with step("score"):
        scored = score_candidates(lake(), config, days.end, model)
    with step("report"):
        write_report(lake(), config, out / "report.html")
    return {
        **result,
        "scored": vars(scored),
        "lake": config.lake.root,
        "model": str(model),
        "report": str(out / "report.html"),
        "seconds": {**seconds, "total": round(time.monotonic() - started, 1)},
    }


def _demo_context(context: Context, log: DemoLog, out: Path) -> Context:
    """The user's configuration over the scratch lake and this log's columns."""
    config, given = context.config, context.loaded.origins
    training = {name: value for name, value in log.training.items() if f"train.{name}" not in given}
    scratch = dataclasses.replace(
        config,
        lake=LakeConfig(root=str(out / "lake")),
        events=dataclasses.replace(config.events, segments=log.segments),
        items=log.items,
        interactions=dataclasses.replace(config.interactions, windows_days=_WINDOWS_DAYS),
        export=dataclasses.replace(config.export, validation_days=_VALIDATION_DAYS, test_days=_TEST_DAYS),
        train=dataclasses.replace(config.train, models_root=str(out / "models"), **training),
    )
    return Context(Loaded(scratch, context.loaded.origins))


def _thinned(frame: DataFrame, one_user_in: int) -> DataFrame:
    """The rows of one user in so many, the same ones in every table; all rows where there are no users."""
    if one_user_in == 1 or "user_id" not in frame.columns:
        return frame
    return frame.where(F.pmod(F.xxhash64("user_id"), F.lit(one_user_in)) == 0)


def _last(days: DateRange, count: int) -> DateRange:
    return DateRange(days.days()[-count], days.end)


def _clear(out: Path) -> None:
    """Start from nothing, but never delete a folder that the demo did not make."""
    if out.exists():
        if not (out / _MARK).is_file() and any(out.iterdir()):
            raise UsageError(f"{out} is not an earlier demo's folder: give an empty or a new one with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / _MARK).touch()


def _stopwatch(log: Callable[[str], None], seconds: dict[str, float]) -> Callable[[str], Any]:
    @contextmanager
    def step(name: str) -> Iterator[None]:
        log(f"» {name}")
        begun = time.monotonic()
        yield
        seconds[name] = round(time.monotonic() - begun, 1)
        log(f"  {name}: {seconds[name]} s")

    return step
