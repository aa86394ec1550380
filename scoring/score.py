"""The scoring job: the candidate sets of a ds through a model -> ``scores``."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyspark.resource import ResourceProfile
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.backoff import backoff_of, pair_rates, rate_cells
from etl.catalogues import snapshot_days
from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.contract.settings import digest
from etl.cross import cross_names
from etl.errors import MissingDataError
from etl.item_versions import VERSION, described_items
from etl.lake import Lake
from etl.plan import require_current
from etl.query_items import can_rank
from etl.query_windows import AS_OF
from etl.runs import Run
from etl.write import Output, replace_partitions
from models.fusion import LinearFusionRanker, Term
from models.model_dir import LoadedModel, load
from scoring.config import PrerankConfig
from scoring.devices import task_device
from scoring.embed import BUCKETS, VECTORS, embed_items, open_model, shipped_matrix, write_matrix
from scoring.errors import ScoringError
from scoring.folded import Rates
from scoring.request_lists import best_items_of, recent_actions, scoring_pairs, scoring_requests
from scoring.resource_profiles import in_own_stage, scoring_profile
from scoring.worker import Requests, rank

_KEPT = ("ds", "request_id", "query_key", "user_id", "segments")
_SCORED = (
    "ds string, request_id string, query_key string, user_id string, segments map<string,string>, "
    "ranked array<struct<item_id: string, score: float>>"
)


@dataclass(frozen=True)
class ScoreReport:
    ds: str
    model: str
    model_version: str
    requests: int
    pairs: int
    unknown_items: int
    """Pairs whose item the catalogue did not hold on the day: counted, never scored."""
    empty_requests: int
    """Requests without a single known item: written with an empty ranking."""


def score_candidates(lake: Lake, config: PrerankConfig, ds: str, model_dir: Path) -> ScoreReport:
    """Rank the candidate sets of ``ds`` with what was known before it began; writes one model version of ``scores``.

    Raises MissingDataError for a missing table or day, ScoringError for a model that cannot score in bulk.
    """
    loaded = load(model_dir)
    if not isinstance(loaded.model, LinearFusionRanker):
        raise ScoringError(f"model '{loaded.card.name}' has no linear fusion: bulk scoring knows only those yet")
    _require_same_features(loaded, config)
    profile = scoring_profile(config, lake.spark)
    as_of = shift_ds(ds, -1 - config.interactions.lag_days)
    candidates = lake.read(c.CANDIDATES, DateRange(ds, ds))
    if candidates.isEmpty():
        raise MissingDataError(c.CANDIDATES, DateRange(ds, ds), lake.path(c.CANDIDATES))
    require_current(lake, config, c.INTERACTIONS, DateRange(as_of, as_of))
    with tempfile.TemporaryDirectory(prefix="prerank-") as folder:
        item_rows, prefix = _ship_items(lake, config, as_of, model_dir, loaded, Path(folder), profile)
        pairs = scoring_pairs(candidates, item_rows).persist()
        try:
            counts = _count(candidates, pairs)
            requests = _requests(lake, config, ds, as_of, loaded, candidates, pairs, item_rows)
            placed = in_own_stage(requests, profile, lake.tasks, "request_id")
            scores = _ranked(placed, str(model_dir.absolute()), prefix, config, loaded, profile)
            run = Run(
                job="score", config_hash=digest(config), definition_hash=loaded.card.version, inputs=dict(lake.pinned)
            )
            version = {"model_version": loaded.card.version}
            output = Output(c.SCORES, scores, DateRange(ds, ds), ("model_version", "request_id"), only=version)
            replace_partitions(lake, [output], run)
        finally:
            pairs.unpersist()
    return ScoreReport(ds, loaded.card.name, loaded.card.version, **counts)


def _require_same_features(loaded: LoadedModel, config: PrerankConfig) -> None:
    """The lake's columns and their lag must be those that the model learned from."""
    absent = sorted(set(loaded.card.spec.cross) - set(cross_names(config)))
    if absent:
        raise ScoringError(
            f"model '{loaded.card.name}' reads {', '.join(absent[:3])}{' and more' if absent[3:] else ''}, which this "
            "configuration does not build: use the windows, half-lives, segments and families that it was trained on"
        )
    trained = loaded.card.data.get("lag_days")
    if trained != config.interactions.lag_days:
        raise ScoringError(
            f"model '{loaded.card.name}' learned from interactions {trained} days behind, the configuration says "
            f"interactions.lag_days={config.interactions.lag_days}: score with --set interactions.lag_days={trained}"
        )


def _ship_items(
    lake: Lake,
    config: PrerankConfig,
    as_of: str,
    model_dir: Path,
    loaded: LoadedModel,
    folder: Path,
    profile: ResourceProfile | None,
) -> tuple[DataFrame, str]:
    """Embed the catalogue as of a day; returns (item_id, item_row) and the prefix of the shipped matrix."""
    snapshot = snapshot_days(lake.days_of(c.ITEMS), as_of)
    if snapshot is None:
        raise MissingDataError(c.ITEMS, DateRange(as_of, as_of), lake.path(c.ITEMS))
    items = lake.read(c.ITEMS, DateRange(snapshot, snapshot))
    spec = loaded.card.spec
    references = items.select("item_id", F.col("ds").alias(VERSION))
    described = described_items(references, items, spec.categories, spec.numerics, spec.dense)
    placed = in_own_stage(described, profile, lake.tasks, "item_id")
    table = embed_items(placed, str(model_dir.absolute()), loaded.card, config.score.device, profile)
    prefix = f"{folder.name}-"
    write_matrix(table, folder)
    for name in (VECTORS, BUCKETS):
        (folder / name).rename(folder / (prefix + name))
        lake.spark.sparkContext.addFile(str(folder / (prefix + name)))
    rows = pa.table({"item_id": table["item_id"], "item_row": pa.array(range(len(table)), pa.int32())})
    return lake.spark.createDataFrame(rows), prefix


def _requests(
    lake: Lake, config: PrerankConfig, ds: str, as_of: str, loaded: LoadedModel, candidates: DataFrame,
    pairs: DataFrame, item_rows: DataFrame,
) -> DataFrame:  # fmt: skip
    spec = loaded.card.spec
    assert isinstance(loaded.model, LinearFusionRanker)
    reach = DateRange(shift_ds(ds, -config.export.history_days), shift_ds(ds, -1))
    histories = recent_actions(lake.read(c.EVENTS, reach), candidates, item_rows, spec.actions, ds, spec.history_length)
    interactions, fusion = lake.read(c.INTERACTIONS, DateRange(as_of, as_of)), loaded.model.fusion()
    rates = _rates(lake, config, as_of, fusion.terms(), pairs)
    best = _best_items(lake, config, as_of, item_rows)
    return scoring_requests(candidates, pairs, interactions, fusion, spec, histories, best, rates)


def _best_items(lake: Lake, config: PrerankConfig, as_of: str, item_rows: DataFrame) -> DataFrame:
    if can_rank(config):
        return best_items_of(lake.read(c.QUERY_ITEMS, DateRange(as_of, as_of)), item_rows)
    nothing = item_rows.where(F.lit(False)).select(F.lit("").alias("query_key"), F.array("item_id").alias("items"))
    return best_items_of(nothing, item_rows)


def _rates(lake: Lake, config: PrerankConfig, as_of: str, terms: Sequence[Term], pairs: DataFrame) -> Rates | None:
    """Those of every pair to be scored, if the model reads any."""
    names = [c.window_rate(action, days) for action, days in rate_cells(config)]
    if not any(term.name.endswith(tuple(f"__{name}" for name in names)) for term in terms):
        return None
    asked = pairs.where("item_row IS NOT NULL").select(F.lit(as_of).alias(AS_OF), "query_key", "item_id").distinct()
    return Rates(pair_rates(asked, backoff_of(lake, DateRange(as_of, as_of), config)).drop(AS_OF), names)


def _ranked(
    requests: DataFrame, model_dir: str, prefix: str, config: PrerankConfig, loaded: LoadedModel,
    profile: ResourceProfile | None,
) -> DataFrame:  # fmt: skip
    top, version, size = config.score.top_k, loaded.card.version, config.score.requests_per_batch
    wanted = config.score.device

    def run(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        device = task_device(wanted)
        opened = open_model(model_dir, version, device)
        assert isinstance(opened.model, LinearFusionRanker)
        matrix = shipped_matrix(prefix)
        for batch in batches:
            for start in range(0, len(batch), size):
                part = batch.slice(start, size)
                ranked = rank(Requests(part), opened.model, opened.card.spec, matrix, top, device)
                yield pa.RecordBatch.from_arrays([*(part[name] for name in _KEPT), ranked], names=[*_KEPT, "ranked"])

    return requests.mapInArrow(run, _SCORED, profile=profile).withColumn("model_version", F.lit(version))


def _count(candidates: DataFrame, pairs: DataFrame) -> dict[str, int]:
    known = F.col("item_row").isNotNull()
    [row] = pairs.agg(
        F.count(F.lit(1)).alias("pairs"),
        F.count_if(~known).alias("unknown_items"),
        F.countDistinct(F.when(known, F.col("request_id"))).alias("with_items"),
    ).toLocalIterator()
    requests = candidates.count()
    return {"requests": requests, "pairs": row.pairs, "unknown_items": row.unknown_items,
            "empty_requests": requests - row.with_items}  # fmt: skip
