"""The scoring job: the candidate sets of a ds through a model -> ``scores``."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from etl.backoff import backoff_of, pair_rates, rate_cells
from etl.config import LakeConfig, SparkConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.contract.settings import config_hash, to_plain
from etl.errors import MissingDataError
from etl.lake import Lake
from etl.plan import require_current
from etl.query_windows import AS_OF
from etl.runs import Run
from etl.write import Output, replace_partitions
from models.model_dir import load
from scoring.chunks import scored_in_chunks
from scoring.config import PrerankConfig
from scoring.day import Day
from scoring.folded import CrossPlan, Rates
from scoring.item_vectors import current_matrix
from scoring.ranking import Ranking, count_columns, ranked
from scoring.request_lists import scoring_requests, slim, small
from scoring.resource_profiles import scoring_profile
from scoring.seen import require_same_features

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class ScoreReport:
    ds: str
    model: str
    model_version: str
    requests: int
    pairs: int
    """Distinct candidates of all requests."""
    unknown_items: int
    """Pairs whose item the catalogue did not hold on the day: counted, never scored."""
    empty_requests: int
    """Requests without a single known item: written with an empty ranking."""
    duplicates: int
    """Candidates that their request named already: counted once."""
    nan_pairs: int
    """Pairs whose score is not a finite number: never ranked."""
    embedded: int
    """Items that went through the tower for this run; 0 where the day's vectors were there."""
    chunks_kept: int
    """Parts of the day that a run before had finished."""


def score_candidates(lake: Lake, config: PrerankConfig, ds: str, model_dir: Path) -> ScoreReport:
    """Rank the candidate sets of ``ds`` with what was known before it began; writes one model version of ``scores``.

    Raises MissingDataError for a missing table or day, ScoringError for a model that does not fit the configuration.
    """
    loaded = load(model_dir)
    require_same_features(loaded, config)
    candidates, (matrix, embedded) = _at_once(
        lambda: _asked(lake, config, ds), lambda: current_matrix(lake, config, ds, model_dir, loaded)
    )
    made, card = matrix.manifest, loaded.card
    day = Day(lake, config, ds, card.spec, CrossPlan.for_model(loaded.model, card.spec.cross), made)
    ranking = Ranking(
        model_dir=str(model_dir.absolute()), version=card.version, stamp=made.stamp, layout=day.plan.layout,
        folder=day.folder, shards=len(made.shard_rows),
        top_k=config.score.top_k, requests_per_batch=config.score.requests_per_batch,
        direct=config.score.direct_read and lake.root.startswith("/"), device=config.score.device,
    )  # fmt: skip
    counts, kept = _write(day, ranking, candidates)
    return ScoreReport(ds, card.name, card.version, **counts, embedded=embedded, chunks_kept=kept)


def _at_once(one: Callable[[], S], other: Callable[[], T]) -> tuple[S, T]:
    """What both return: on few rows, each would leave most of the cores idle."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(one), pool.submit(other)
        return first.result(), second.result()


def _asked(lake: Lake, config: PrerankConfig, ds: str) -> DataFrame:
    """The candidate sets of ``ds``; MissingDataError where there are none."""
    candidates = lake.read(c.CANDIDATES, DateRange(ds, ds))
    if candidates.isEmpty():
        raise MissingDataError(c.CANDIDATES, DateRange(ds, ds), lake.path(c.CANDIDATES))
    return candidates


def _write(day: Day, ranking: Ranking, candidates: DataFrame) -> tuple[dict[str, int], int]:
    """Score and commit the day; returns the counts of the report, and how many chunks were finished before."""
    lake, config, version = day.lake, day.config, ranking.version
    requests = slim(candidates, ranking.direct)
    chunks, profile = config.score.chunks, scoring_profile(config, lake.spark)
    run = Run(job="score", config_hash=config_hash(config), definition_hash=version, source=ranking.model_dir)
    with _sides(day, candidates) as (lists, histories, in_order):

        def score(part: DataFrame) -> DataFrame:
            whole = scoring_requests(part, lists, histories, day.plan, day.spec)
            return ranked(whole, ranking, lake.tasks, in_order, profile)

        if chunks == 1:
            scored: AbstractContextManager[tuple[DataFrame, int]] = nullcontext((score(requests), 0))
        else:
            identity = [version, ranking.stamp, _settings(config)]
            scored = scored_in_chunks(lake, day.ds, version, identity, run.run_id, requests, chunks, score)
        counted = Observation()
        with scored as (rows, kept):
            scores = rows.observe(counted, *count_columns())
            scores = scores.select("ds", "request_id", "query_key", "user_id", "segments", "ranked",
                                   F.lit(version).alias("model_version"))  # fmt: skip
            run.inputs = dict(lake.pinned)
            output = Output(c.SCORES, scores, DateRange(day.ds, day.ds), ("model_version", "request_id"),
                            only={"model_version": version}, placed=True)  # fmt: skip
            replace_partitions(lake, [output], run)
    return {name: int(value or 0) for name, value in counted.get.items()}, kept


@contextmanager
def _sides(day: Day, candidates: DataFrame) -> Iterator[tuple[DataFrame, DataFrame, bool]]:
    """Queries' lists and users' histories, computed at the same time and kept within; and whether both go to every
    task, so that requests stay where they are. What the lists are of is found to be current meanwhile.
    """
    kept: list[DataFrame] = []

    def compute(make: Callable[[], DataFrame]) -> tuple[DataFrame, bool]:
        frame = make().persist()
        kept.append(frame)
        return frame, small(frame)

    try:
        _, ((lists, few_lists), (histories, few_histories)) = _at_once(
            lambda: require_current(day.lake, day.config, c.INTERACTIONS, day.as_of),
            lambda: _at_once(
                lambda: compute(lambda: day.lists(candidates, _rates(day, candidates))),
                lambda: compute(lambda: day.histories(candidates)),
            ),
        )
        if few_lists and few_histories:
            yield F.broadcast(lists), F.broadcast(histories), True
        else:
            yield lists, histories, False
    finally:
        for frame in kept:
            frame.unpersist()


def _settings(config: PrerankConfig) -> Any:
    """What of the configuration may change a score."""
    return to_plain(replace(config, spark=SparkConfig(), lake=LakeConfig()))


def _rates(day: Day, candidates: DataFrame) -> Rates | None:
    """Those of every pair to be scored, if the model reads any: the one thing that is found pair by pair."""
    names = [c.window_rate(action, days) for action, days in rate_cells(day.config)]
    if not day.plan.reads(names):
        return None
    pairs = candidates.select("query_key", F.explode("items").alias("item_id")).distinct()
    asked = pairs.join(day.items(), "item_id", "left_semi").withColumn(AS_OF, F.lit(day.as_of.start))
    return Rates(pair_rates(asked, backoff_of(day.lake, day.as_of, day.config)).drop(AS_OF), names)
