"""Made-up content of a report: every section of the page has something to show."""

from dataclasses import replace
from typing import Any

from etl.operations.figures import Figure
from scoring.report_content import ModelFacts, ReportContent, RunFacts, TableFacts

HOSTILE = "<script>alert(1)</script>$x^2$ {{ 7 * 7 }} \"'&"
METRICS = ("hits@1", "hits@3", "hits@10", "ndcg@10", "mrr", "auc")
UNKNOWN = {"hits@3": None, "hits@3_ci": [None, None]}
COSTS = {
    name: {"flops_per_pair": flops, "bytes_per_pair": 2 * flops, "parameters": 2_000_000, "pairs_per_second": 9_123_456}
    for name, flops in (("two_tower", 130), ("interactrank", 132))
}
LEVELS = {"bm25": 0.221, "two_tower": 0.350, "interactrank": 0.412, "oracle": 0.520}


def entry(level: float, spread: float = 0.011) -> dict[str, Any]:
    factors = (0.5, 1.0, 1.6, 0.9, 0.8, 1.4)
    values = {metric: level * factor for metric, factor in zip(METRICS, factors, strict=True)}
    return values | {f"{metric}_ci": [value - spread, value + spread] for metric, value in values.items()}


def evaluation(**changes: Any) -> dict[str, Any]:
    models = {name: entry(level) | {"row_auc": 0.7} for name, level in LEVELS.items() if name != "oracle"}
    for name in ("two_tower", "interactrank"):
        models[name] |= {"logloss": 0.31, "calibration": 1.02}
        models[name] |= {"cost": COSTS[name]}
    parts = {"head": 0.06, "torso": 0.0, "tail": -0.07, "with_history": 0.1, "without_history": -0.12}
    result = {
        "models": models,
        "oracle": entry(LEVELS["oracle"]) | {"requests": 4210},
        "slices": {
            part: {"requests": 1404} | {name: entry(level + lift, 0.02) for name, level in LEVELS.items()}
            for part, lift in parts.items()
        },
        "differences": {"bm25": entry(-0.129), "interactrank": entry(0.062)},
        "calibration": {"two_tower": {"engagement": bins(0.93)}, "interactrank": {"engagement": bins(1.05)}},
        "requests": 4210,
        "rows": 84200,
        "split": "test",
        "data": "scratch/export",
        "note": "",
        "coverage_by_ds": {
            f"2026-03-{day:02d}": {"rows": 20000.0 + 700 * (day % 7), "with_history": 0.9 - 0.6 / day}
            for day in range(1, 29)
        },
    }
    return result | changes


def bins(bias: float) -> dict[str, Any]:
    predicted = [0.012 * 1.45**index for index in range(10)]
    observed = [p * bias * (0.9 + 0.02 * index) for index, p in enumerate(predicted)]
    found = [{"rows": 8420.0, "predicted": p, "observed": o} for p, o in zip(predicted, observed, strict=True)]
    return {"predicted": 0.1, "observed": 0.1, "ratio": 1.0, "bins": found}


def trained(name: str, cross: int = 0) -> ModelFacts:
    kinds = [f"{action}_{kind}" for action in ("click", "long_click", "save", "purchase") for kind in
             ("share_7d", "share_30d", "rate_30d", "rate_90d", "decay_hl14d")]  # fmt: skip
    names = [f"{segment}__{kind}" for segment in ("all", "country", "gender") for kind in kinds][:cross]
    quality = [0.35, 0.38, 0.391, 0.396, 0.4, 0.398]
    curve = [
        {"epoch": epoch, "loss": 0.4 / epoch + 0.2, "learning_rate": 0.003, "validation_ndcg@10": found}
        for epoch, found in enumerate(quality, start=1)
    ]
    weights = {feature: 0.83 * (-0.7) ** (index % 9) + 0.001 * index for index, feature in enumerate(names)}
    data = {"start_ds": "2026-03-01", "end_ds": "2026-03-28", "rows": 583210}
    return ModelFacts(name, "0f3a9c21d4e5b678", curve, 5, "ndcg@10", data, 6.317, weights)


def run(job: str, table: str, seconds: float, run_id: str = "a") -> RunFacts:
    return RunFacts(run_id, job, table, "2026-03-01", "2026-03-28", 812345, 800000, 12345, seconds, 3, ("events@4",))


def ablation() -> dict[str, Any]:
    def rung(name: str, before: str | None, level: float, carried_on: bool = True) -> dict[str, Any]:
        found = entry(level) | {f"{metric}_std": 0.004 for metric in METRICS}
        change = None if before is None else entry(0.02)
        return {
            "name": name, "before": before, "carried_on": carried_on, "validation": found, "test": found,
            "difference": {"validation": change, "test": change},
        }  # fmt: skip

    rungs = [
        rung("two_tower", None, 0.35),
        rung("+ shares", "two_tower", 0.40),
        rung("+ focal", "+ shares", 0.38, False),
    ]
    total = entry(0.05) | {"relative": 0.143, "gap_closed": 0.31}
    return {
        "metrics": ["hits@3", "ndcg@10", "auc"],
        "seeds": [17, 18, 19],
        "requests": {"validation": 1400, "test": 4210},
        "rungs": rungs,
        "references": {"oracle": {"validation": entry(0.52), "test": entry(0.52)}},
        "total": {"rung": "+ shares", "before": "two_tower", "validation": total, "test": total},
    }


def content(**changes: Any) -> ReportContent:
    full = ReportContent(
        lake="scratch/lake",
        models_root="scratch/trained",
        evaluation=evaluation(),
        models=(trained("interactrank", 60), trained("two_tower")),
        runs=(
            run("score", "scores", 31.2),
            run("interactions", "interactions", 187.4),
            run("interactions", "queries_daily", 64.0),
            run("ingest", "events", 44.1, "b"),
            run("ingest", "items", 9.3, "c"),
        ),
        tables=(TableFacts("events", 28, "2026-03-01", "2026-03-28", 787655),),
        rejected={"duplicate": 9001, "bot": 3000, "bad_timestamp": 344},
        monitoring=monitored(),
    )
    return replace(full, **changes)


def monitored() -> tuple[Figure, ...]:
    """Twelve days, one of them without figures."""
    days = [f"2026-03-{day:02d}" for day in range(1, 14) if day != 5]
    found = []
    for place, ds in enumerate(days):
        found += [Figure(ds, "rows", table, 1000.0 + 50 * place) for table in ("events", "interactions", HOSTILE)]
        found += [Figure(ds, "coverage", part, 0.9 - 0.02 * place) for part in ("head", "impressions", "tail", "torso")]
        found += [Figure(ds, "reject_share", "", 0.01), Figure(ds, "days_behind", "events", place % 2)]
        found += [Figure(ds, "psi", f"all__feature_{number}", 0.01 * number * place) for number in range(9)]
    return tuple(found)
