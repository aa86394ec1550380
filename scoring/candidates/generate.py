"""The candidates job: a list of items for each request of a ds that has none, from up to three sources.

What is known on the morning of D is what was known at the end of D-1-lag_days: interactions, the catalogue snapshot and
its texts, the model's item vectors. Candidates are items of that snapshot only. Sources that depend on the query alone
are asked once per distinct query, the nearest items once per request, as a query vector is its user's too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.caching import Cached
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.contract.settings import config_hash
from etl.errors import MissingDataError
from etl.lake import Lake
from etl.plan import require_current, require_source
from etl.query_items import best_items, can_rank
from etl.recovery import record_lost_commits
from etl.runs import Run
from etl.write import Output, replace_partitions
from scoring.candidates.neighbours import nearest_items
from scoring.candidates.requests import REQUEST, is_open, new_requests
from scoring.candidates.texts import matching_items
from scoring.candidates.union import round_robin
from scoring.config import PrerankConfig
from scoring.errors import ScoringError
from scoring.seen import catalogue_day, day_seen

INTERACTIONS, BM25, NEAREST = SOURCES = ("interactions", "bm25", "nearest")
"""In the order in which their items alternate."""
_SCHEMA = (
    "ds string, request_id string, query_key string, user_id string, segments map<string,string>, items array<string>"
)


@dataclass(frozen=True)
class CandidatesReport:
    ds: str
    requests: int
    """Requests without candidates before: those with an empty list, and those that are new."""
    new_requests: int
    """Of these, requests of ``events`` that had no row."""
    filled: int
    """Of these, requests that have candidates now."""
    sources: dict[str, int]
    """Items that each source brought, over all requests."""
    items: int
    """Distinct items over all requests: what the sources brought less ``overlap``."""
    overlap: int
    unreadable: int
    """Sets whose list could not be read when they were ingested: left alone, as other sets are."""


def generate_candidates(
    lake: Lake, config: PrerankConfig, ds: str, model_dir: Path | None = None, from_events: bool = False
) -> CandidatesReport:
    """Fill the empty candidate sets of ``ds``; with ``from_events`` also requests of the day's events without a set.

    Without ``model_dir`` nearest items are left out. Nothing is written if nothing was found: the same command again
    changes nothing. Raises MissingDataError for a table or day that is needed, ScoringError for a source that the
    configuration or the model cannot serve.
    """
    day = DateRange(ds, ds)
    wanted = _wanted(config, model_dir)
    seen = lake.seen(c.CANDIDATES)
    held = _held(lake, day, from_events)
    with Cached() as keep:
        todo = keep(_todo(lake, held, day, from_events))
        total, added, unreadable = _counts(todo, held)
        report = CandidatesReport(ds, total, added, 0, dict.fromkeys(SOURCES, 0), 0, 0, unreadable)
        if not total:
            record_lost_commits(lake, (c.CANDIDATES,))
            return report
        lists = _lists(lake, config, ds, todo, wanted, model_dir)
        found = keep(_joined(todo, lists))
        report = _report(report, found)
        if report.filled or added:
            filled = found.select("ds", *REQUEST, "items")
            frame = held.where(~is_open()).unionByName(filled, allowMissingColumns=True)
            run = Run(job="candidates", config_hash=config_hash(config), inputs=dict(lake.pinned), rows_in=total)
            replace_partitions(lake, [Output(c.CANDIDATES, frame, day, ("request_id",), read=seen)], run)
        else:
            record_lost_commits(lake, (c.CANDIDATES,))
    return report


def _wanted(config: PrerankConfig, model_dir: Path | None) -> dict[str, int]:
    counts = vars(config.candidates)
    wanted = {name: counts[name] for name in SOURCES if counts[name] and (name != NEAREST or model_dir)}
    if not wanted:
        raise ScoringError(
            "candidates come from nowhere: set candidates.interactions or candidates.bm25 above 0, or "
            "candidates.nearest with --model"
        )
    if INTERACTIONS in wanted and not can_rank(config):
        raise ScoringError(
            "the best items of a query are those by decayed engagement, and interactions.families leaves out decay: "
            "add it and build interactions again, or set candidates.interactions=0"
        )
    return wanted


def _held(lake: Lake, day: DateRange, from_events: bool) -> DataFrame:
    if lake.exists(c.CANDIDATES):
        held = lake.read(c.CANDIDATES, day)
        if from_events or not held.isEmpty():
            return held
    if not from_events:
        raise MissingDataError(c.CANDIDATES, day, lake.path(c.CANDIDATES))
    return lake.spark.createDataFrame([], _SCHEMA)


def _todo(lake: Lake, held: DataFrame, day: DateRange, from_events: bool) -> DataFrame:
    """(ds, request_id, query_key, user_id, segments, is_new)."""
    todo = held.where(is_open()).select(*REQUEST, F.lit(False).alias("is_new"))
    if from_events:
        require_source(lake, c.EVENTS, day)
        new = new_requests(lake.read(c.EVENTS, day.widen(before=1)), held, day.start)
        todo = todo.unionByName(new.withColumn("is_new", F.lit(True)))
    return todo.withColumn("ds", F.lit(day.start))


def _counts(todo: DataFrame, held: DataFrame) -> tuple[int, int, int]:
    [row] = todo.agg(F.count(F.lit(1)).alias("total"), F.count_if("is_new").alias("added")).toLocalIterator()
    return row.total, row.added, held.where("items IS NULL").count()


def _lists(
    lake: Lake, config: PrerankConfig, ds: str, todo: DataFrame, wanted: Mapping[str, int], model_dir: Path | None
) -> dict[str, DataFrame]:
    """By source: (query_key or request_id, items), best first."""
    as_of = day_seen(config, ds)
    snapshot = catalogue_day(lake, as_of)
    items = lake.read(c.ITEMS, DateRange(snapshot, snapshot))
    asked = todo.select("query_key").distinct()
    lists = {}
    if {INTERACTIONS, NEAREST} & set(wanted):
        require_current(lake, config, c.INTERACTIONS, DateRange(as_of, as_of))
    if INTERACTIONS in wanted:
        pairs = lake.read(c.INTERACTIONS, DateRange(as_of, as_of)).join(asked, "query_key", "left_semi")
        known = pairs.join(items.select("item_id"), "item_id", "left_semi")
        lists[INTERACTIONS] = best_items(known, config, wanted[INTERACTIONS]).drop("ds")
    if BM25 in wanted:
        lists[BM25] = matching_items(asked, items, wanted[BM25], lake.tasks)
    if NEAREST in wanted and model_dir:
        lists[NEAREST] = nearest_items(lake, config, ds, todo.select("ds", *REQUEST), model_dir, wanted[NEAREST])
    return lists


def _joined(todo: DataFrame, lists: Mapping[str, DataFrame]) -> DataFrame:
    """``todo`` with ``items``, and how many each source brought."""
    joined = todo
    for name, found in lists.items():
        key = "request_id" if name == NEAREST else "query_key"
        joined = joined.join(found.select(key, F.col("items").alias(f"from_{name}")), key, "left")
    columns = [F.col(f"from_{name}") for name in lists]
    sizes = [F.coalesce(F.size(column), F.lit(0)).alias(name) for name, column in zip(lists, columns, strict=True)]
    return joined.select(*todo.columns, round_robin(*columns).alias("items"), *sizes)


def _report(before: CandidatesReport, found: DataFrame) -> CandidatesReport:
    names = [name for name in SOURCES if name in found.columns]
    sums = [F.sum(F.greatest(F.col(name), F.lit(0))).alias(name) for name in names]
    [row] = found.agg(
        F.count_if(F.size("items") > 0).alias("filled"), F.sum(F.size("items")).alias("distinct"), *sums
    ).toLocalIterator()
    sources = {name: int(row[name]) if name in names else 0 for name in SOURCES}
    overlap = sum(sources.values()) - row.distinct
    return CandidatesReport(
        before.ds, before.requests, before.new_requests, row.filled, sources, row.distinct, overlap, before.unreadable
    )
