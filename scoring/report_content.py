"""What the report shows, as plain values gathered from the lake and the models' folder.

Whatever is missing or damaged becomes an empty field and, where that needs words, a line in ``problems``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.dates import shift_ds
from etl.contract.errors import PrerankError
from etl.contract.masking import masked_text
from etl.lake import Lake
from etl.operations.figures import Figure
from models.cli import ABLATION, BM25, EVALUATION
from models.fusion import LinearFusionRanker
from models.model_dir import CARD, load
from scoring.config import PrerankConfig

MOST_RUNS = 200
MOST_DAYS = 90
TABLES = (
    c.EVENTS, c.EVENTS_REJECTED, c.INTERACTIONS_DAILY, c.QUERIES_DAILY, c.INTERACTIONS, c.ITEMS, c.QUERIES,
    c.CANDIDATES, c.SCORES,
)  # fmt: skip
_DAY = "-".join(("[0-9]" * 4, "[0-9]" * 2, "[0-9]" * 2))
_EVALUATION_KEYS = {"models": dict, "slices": dict, "differences": dict, "calibration": dict, "requests": int}
_ABLATION_KEYS = {"rungs": list, "references": dict, "total": dict, "metrics": list, "seeds": list, "requests": dict}


@dataclass(frozen=True)
class ModelFacts:
    """A trained model: what its card says, and its fusion weights in logits."""

    name: str
    version: str
    curve: list[dict[str, float]]
    best_epoch: int
    metric: str
    """The validation metric that picked the best epoch."""
    trained_on: dict[str, Any]
    dot_weight: float | None = None
    cross_weights: dict[str, float] = field(default_factory=dict)
    """By cross feature, on its scaled value: comparable with each other."""


@dataclass(frozen=True)
class RunFacts:
    """One row of ``runs``: a table written by a run."""

    run_id: str
    job: str
    table: str
    ds: str
    end_ds: str
    rows_in: int
    rows_out: int
    rows_rejected: int
    seconds: float
    """Since the run began, so a run's last table tells how long it took."""
    version: int | None
    """None for a job that failed."""
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class TableFacts:
    table: str
    days: int
    first_ds: str
    last_ds: str
    rows: int


@dataclass(frozen=True)
class ReportContent:
    lake: str
    models_root: str
    evaluation: dict[str, Any] | None = None
    """The result of the last ``prerank evaluate``, with its keys data, note and coverage_by_ds."""
    ablation: dict[str, Any] | None = None
    """The result of the last ``prerank ablate``."""
    models: tuple[ModelFacts, ...] = ()
    runs: tuple[RunFacts, ...] = ()
    """Newest first."""
    tables: tuple[TableFacts, ...] = ()
    rejected: dict[str, int] | None = None
    """Refused rows by reason; None without the table."""
    monitoring: tuple[Figure, ...] = ()
    """Of the newest MOST_DAYS monitored days, in the order of days."""
    problems: tuple[str, ...] = ()


def collect(lake: Lake, config: PrerankConfig) -> ReportContent:
    """Gather the content: small reads only, whatever the lake's size. Nothing that is missing is an error."""
    given = Path(config.train.models_root)
    root = evaluated_root(given)
    evaluation, problems = read_evaluation(root)
    ablation, damaged = read_ablation(given)
    models, more = read_models(root, evaluation)
    return ReportContent(
        lake=masked_text(lake.root),
        models_root=str(root),
        evaluation=evaluation,
        ablation=ablation,
        models=models,
        runs=_runs(lake),
        tables=tuple(_table(lake, table) for table in TABLES if lake.exists(table)),
        rejected=_rejected(lake),
        monitoring=_monitoring(lake),
        problems=(*problems, *damaged, *more),
    )


def evaluated_root(root: Path) -> Path:
    """``root``, or the newest day's folder (``yyyy-mm-dd``) below it if only such folders hold an evaluation."""
    if (root / EVALUATION).is_file():
        return root
    return max((path.parent for path in root.glob(f"{_DAY}/{EVALUATION}")), default=root)


def read_evaluation(root: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The last evaluation under ``root`` and what is wrong with it; (None, []) where there is none yet."""
    return _read_result(root / EVALUATION, _EVALUATION_KEYS, "evaluate")


def read_ablation(root: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The last ablation under ``root``, likewise."""
    return _read_result(root / ABLATION, _ABLATION_KEYS, "ablate")


def _read_result(path: Path, keys: Mapping[str, type], verb: str) -> tuple[dict[str, Any] | None, list[str]]:
    if not path.is_file():
        return None, []
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        wrong = [key for key, kind in keys.items() if not isinstance(result.get(key), kind)]
    except (ValueError, AttributeError) as error:
        return None, [f"{path} is damaged ({error}). Run prerank {verb} again."]
    if wrong:
        return None, [f"{path} has no usable {', '.join(wrong)}. Run prerank {verb} again."]
    return result, []


def read_models(root: Path, evaluation: dict[str, Any] | None) -> tuple[tuple[ModelFacts, ...], list[str]]:
    """The models that the evaluation names, or all under ``root`` without one; and a line for each unreadable one."""
    found = sorted(path.parent.name for path in root.glob(f"*/{CARD}") if not path.parent.name.startswith("."))
    wanted = found if evaluation is None else sorted({*evaluation["models"]} - {BM25})
    models, problems = [], []
    for name in wanted:
        try:
            models.append(_model(name, root / name))
        except PrerankError as error:
            problems.append(f"Model '{name}': {error}")
    return tuple(models), problems


def _model(name: str, directory: Path) -> ModelFacts:
    loaded = load(directory)
    card = loaded.card
    facts = ModelFacts(
        name, card.version, card.curve, card.best_epoch, card.config.early_stopping_metric, card.data
    )  # fmt: skip
    if not isinstance(loaded.model, LinearFusionRanker):
        return facts
    fusion = loaded.model.fusion()
    weights = dict(zip(fusion.scaling.names, fusion.weights, strict=True))
    return ModelFacts(**vars(facts) | {"dot_weight": fusion.dot_weight, "cross_weights": weights})


def _runs(lake: Lake) -> tuple[RunFacts, ...]:
    if not lake.exists(c.RUNS):
        return ()
    seconds = F.col("finished_at").cast("double") - F.col("started_at").cast("double")
    newest = (
        lake.read(c.RUNS)
        .withColumn("seconds", seconds)
        .orderBy(F.col("finished_at").desc(), "run_id", "table", "ds")
        .limit(MOST_RUNS)
    )
    return tuple(
        RunFacts(
            run_id=row["run_id"],
            job=row["job"],
            table=row["table"],
            ds=row["ds"],
            end_ds=row["end_ds"],
            rows_in=row["rows_in"],
            rows_out=row["rows_out"],
            rows_rejected=row["rows_rejected"],
            seconds=row["seconds"],
            version=row["output_version"],
            inputs=tuple(row["inputs"]),
        )
        for row in newest.toLocalIterator()
    )


def _table(lake: Lake, table: str) -> TableFacts:
    days = lake.days_of(table)
    first, last = (days[0], days[-1]) if days else ("", "")
    return TableFacts(table, len(days), first, last, lake.read(table).count())


def _rejected(lake: Lake) -> dict[str, int] | None:
    if not lake.exists(c.EVENTS_REJECTED):
        return None
    counts = lake.read(c.EVENTS_REJECTED).groupBy("reason").count().orderBy(F.desc("count"), "reason")
    return {row["reason"]: row["count"] for row in counts.toLocalIterator()}


def _monitoring(lake: Lake) -> tuple[Figure, ...]:
    days = lake.days_of(c.MONITORING)
    if not days:
        return ()
    recent = lake.read(c.MONITORING).where(F.col("ds") > shift_ds(days[-1], -MOST_DAYS))
    rows = recent.orderBy("ds", "metric", "part").toLocalIterator()
    return tuple(Figure(row.ds, row.metric, row.part, row.value) for row in rows)
