"""The scoring job: the candidate sets of a ds through a model -> ``scores``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from etl.backoff import backoff_of, pair_rates, rate_cells
from etl.config import LakeConfig, SparkConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.contract.settings import digest, to_plain
from etl.errors import MissingDataError
from etl.lake import Lake
from etl.plan import require_current
from etl.query_items import can_rank
from etl.query_windows import AS_OF
from etl.runs import Run
from etl.write import Output, replace_partitions
from models.model_dir import LoadedModel, load
from scoring.chunks import remove, score_in_chunks
from scoring.config import PrerankConfig
from scoring.folded import CrossPlan, Rates
from scoring.item_vectors import current_matrix, matrix_folder
from scoring.ranking import Ranking, count_columns, ranked
from scoring.request_lists import query_lists, recent_actions, scoring_requests, slim, small
from scoring.resource_profiles import scoring_profile
from scoring.seen import day_seen, require_same_features


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


@dataclass(frozen=True)
class _Day:
    """What the requests of one day are scored with."""

    lake: Lake
    config: PrerankConfig
    ds: str
    loaded: LoadedModel
    plan: CrossPlan
    ranking: Ranking

    @property
    def as_of(self) -> DateRange:
        """The one day that interactions are read of."""
        day = day_seen(self.config, self.ds)
        return DateRange(day, day)


def score_candidates(lake: Lake, config: PrerankConfig, ds: str, model_dir: Path) -> ScoreReport:
    """Rank the candidate sets of ``ds`` with what was known before it began; writes one model version of ``scores``.

    Raises MissingDataError for a missing table or day, ScoringError for a model that does not fit the configuration.
    """
    loaded = load(model_dir)
    require_same_features(loaded, config)
    as_of = day_seen(config, ds)
    candidates = lake.read(c.CANDIDATES, DateRange(ds, ds))
    if candidates.isEmpty():
        raise MissingDataError(c.CANDIDATES, DateRange(ds, ds), lake.path(c.CANDIDATES))
    require_current(lake, config, c.INTERACTIONS, DateRange(as_of, as_of))
    matrix, embedded = current_matrix(lake, config, ds, model_dir, loaded)
    made, card, model = matrix.manifest, loaded.card, loaded.model
    plan = CrossPlan.for_model(model, card.spec.cross)
    ranking = Ranking(
        model_dir=str(model_dir.absolute()), version=card.version, stamp=made.stamp, layout=plan.layout,
        folder=str(matrix_folder(config, card.version, made.as_of)), shards=len(made.shard_rows),
        top_k=config.score.top_k, requests_per_batch=config.score.requests_per_batch,
        direct=config.score.direct_read and lake.root.startswith("/"), device=config.score.device,
    )  # fmt: skip
    counts, kept = _write(_Day(lake, config, ds, loaded, plan, ranking), candidates)
    return ScoreReport(ds, card.name, card.version, **counts, embedded=embedded, chunks_kept=kept)


def _write(day: _Day, candidates: DataFrame) -> tuple[dict[str, int], int]:
    """Score and commit the day; returns the counts of the report, and how many chunks were finished before."""
    lake, config, version = day.lake, day.config, day.loaded.card.version
    requests = slim(candidates, day.ranking.direct)
    lists, histories = _lists(day, candidates).persist(), _histories(day, candidates).persist()
    chunks, kept, profile = config.score.chunks, 0, scoring_profile(config, lake.spark)

    def score(part: DataFrame) -> DataFrame:
        sides = (F.broadcast(lists), F.broadcast(histories)) if in_order else (lists, histories)
        whole = scoring_requests(part, sides[0], sides[1], day.plan, day.loaded.card.spec)
        return ranked(whole, day.ranking, lake.tasks, in_order, profile)

    try:
        in_order = all(small(side) for side in (lists, histories))
        if chunks == 1:
            scores = score(requests)
        else:
            identity = [version, day.ranking.stamp, _settings(config)]
            scores, kept = score_in_chunks(lake, day.ds, version, identity, requests, chunks, score)
        counted = Observation()
        scores = scores.observe(counted, *count_columns())
        scores = scores.select("ds", "request_id", "query_key", "user_id", "segments", "ranked",
                               F.lit(version).alias("model_version"))  # fmt: skip
        run = Run(job="score", config_hash=digest(config), definition_hash=version, inputs=dict(lake.pinned))
        output = Output(c.SCORES, scores, DateRange(day.ds, day.ds), ("model_version", "request_id"),
                        only={"model_version": version}, placed=True)  # fmt: skip
        replace_partitions(lake, [output], run)
    finally:
        lists.unpersist()
        histories.unpersist()
    if chunks > 1:
        remove(lake, day.ds, version)
    return {name: int(value or 0) for name, value in counted.get.items()}, kept


def _settings(config: PrerankConfig) -> Any:
    """What of the configuration may change a score."""
    return to_plain(replace(config, spark=SparkConfig(), lake=LakeConfig()))


def _lists(day: _Day, candidates: DataFrame) -> DataFrame:
    lake, config = day.lake, day.config
    asked = candidates.select("query_key").distinct()
    interactions = lake.read(c.INTERACTIONS, day.as_of)
    best = lake.read(c.QUERY_ITEMS, day.as_of) if can_rank(config) else None
    matrix = (day.ranking.folder, day.ranking.stamp)
    return query_lists(asked, interactions, best, day.plan, _rates(day, candidates), matrix, lake.tasks)


def _histories(day: _Day, candidates: DataFrame) -> DataFrame:
    spec = day.loaded.card.spec
    reach = DateRange(shift_ds(day.ds, -day.config.export.history_days), shift_ds(day.ds, -1))
    events = day.lake.read(c.EVENTS, reach)
    return recent_actions(events, candidates, _items(day), spec.actions, day.ds, spec.history_length)


def _items(day: _Day) -> DataFrame:
    """(item_id) of the catalogue that the day is scored with."""
    snapshot = Path(day.ranking.folder).name
    return day.lake.read(c.ITEMS, DateRange(snapshot, snapshot)).select("item_id")


def _rates(day: _Day, candidates: DataFrame) -> Rates | None:
    """Those of every pair to be scored, if the model reads any: the one thing that is found pair by pair."""
    names = [c.window_rate(action, days) for action, days in rate_cells(day.config)]
    if not day.plan.reads(names):
        return None
    pairs = candidates.select("query_key", F.explode("items").alias("item_id")).distinct()
    asked = pairs.join(_items(day), "item_id", "left_semi").withColumn(AS_OF, F.lit(day.as_of.start))
    return Rates(pair_rates(asked, backoff_of(day.lake, day.as_of, day.config)).drop(AS_OF), names)
