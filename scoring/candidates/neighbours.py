"""The items nearest to each request's query vector, searched by Spark workers over the mapped item vectors."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from torch import Tensor

from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.lake import Lake
from etl.query_items import can_rank
from models.fusion import LinearFusionRanker
from models.model_dir import LoadedModel, load
from scoring.candidates.nearest import nearest
from scoring.candidates.running import NO_ROW
from scoring.config import PrerankConfig
from scoring.devices import task_device
from scoring.embed import open_model
from scoring.errors import ScoringError
from scoring.folded import CrossPlan
from scoring.item_matrix import ItemMatrix, shared_matrix
from scoring.item_vectors import current_matrix, matrix_folder
from scoring.query_side import encode_queries, query_features
from scoring.request_lists import query_lists, recent_actions, scoring_requests
from scoring.resource_profiles import scoring_profile
from scoring.seen import day_seen

_SCHEMA = "request_id string, items array<string>"
#: Nearest items come from the vectors alone.
_NO_CROSS = CrossPlan.of((), None)


@dataclass(frozen=True)
class Search:
    """All that a worker has to know."""

    model_dir: str
    version: str
    folder: str
    stamp: str
    """Of the matrix in ``folder``."""
    k: int
    requests_per_batch: int


def nearest_items(
    lake: Lake, config: PrerankConfig, ds: str, requests: DataFrame, model_dir: Path, k: int
) -> DataFrame:
    """(request_id, items array<string>): the ``k`` items with the greatest dot product, of the snapshot of ``ds``.

    ``requests`` have request_id, query_key, user_id and segments. Item vectors that are not there are made. Raises
    ScoringError for a model whose order is not that of one dot product and a number.
    """
    loaded = load(model_dir)
    if not isinstance(loaded.model, LinearFusionRanker):
        raise ScoringError(
            f"model '{loaded.card.name}' has no single query vector, so no item is nearest to it: set "
            "candidates.nearest=0, or give a model with a linear fusion (two_tower, interactrank, dat)"
        )
    matrix, _ = current_matrix(lake, config, ds, model_dir, loaded)
    made = matrix.manifest
    folder = str(matrix_folder(config, made.model_version, made.as_of))
    search = Search(
        str(model_dir.absolute()), made.model_version, folder, made.stamp, k, config.score.requests_per_batch
    )
    sides = _query_sides(lake, config, ds, requests, loaded, search, made.as_of)
    profile, wanted = scoring_profile(config, lake.spark), config.score.device

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return neighbours(batches, search, task_device(wanted))

    # By number: Spark would put so few bytes into one task, however long each request takes.
    placed = sides.repartition(lake.tasks, F.xxhash64("request_id"))
    return placed.mapInArrow(run, _SCHEMA, profile=profile)


def neighbours(batches: Iterable[pa.RecordBatch], search: Search, device: torch.device) -> Iterator[pa.RecordBatch]:
    """In a worker: request_id and items of each request."""
    loaded = open_model(search.model_dir, search.version)
    matrix = shared_matrix(search.folder, search.stamp)
    loaded.model.to(device)
    for batch in batches:
        for low in range(0, len(batch), search.requests_per_batch):
            part = batch.slice(low, search.requests_per_batch)
            items = nearest_of_batch(part, loaded, matrix, search.k, search.requests_per_batch)
            yield pa.RecordBatch.from_arrays([part["request_id"], items], names=["request_id", "items"])


def nearest_of_batch(batch: pa.RecordBatch, loaded: LoadedModel, matrix: ItemMatrix, k: int, size: int) -> pa.ListArray:
    """array<string> (R,) of R <= ``size`` requests, on the model's device."""
    with torch.inference_mode():
        queries = encode_queries(loaded.model, query_features(batch, loaded.card.spec, matrix), size)  # (R, D)
    rows = nearest(queries, [_as_tensor(shard) for shard in matrix.shards], k).rows
    found = rows != NO_ROW
    offsets = np.cumsum([0, *found.sum(axis=1)], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, matrix.ids.take(pa.array(rows[found])))


def _query_sides(
    lake: Lake, config: PrerankConfig, ds: str, requests: DataFrame, loaded: LoadedModel, search: Search, snapshot: str
) -> DataFrame:
    """What a query tower reads of each request, as ``score`` has it."""
    spec = loaded.card.spec
    as_of = day_seen(config, ds)
    best = lake.read(c.QUERY_ITEMS, DateRange(as_of, as_of)) if can_rank(config) else None
    asked, matrix = requests.select("query_key").distinct(), (search.folder, search.stamp)
    interactions = lake.read(c.INTERACTIONS, DateRange(as_of, as_of))
    lists = query_lists(asked, interactions, best, _NO_CROSS, None, matrix, lake.tasks)
    reach = DateRange(shift_ds(ds, -config.export.history_days), shift_ds(ds, -1))
    items = lake.read(c.ITEMS, DateRange(snapshot, snapshot)).select("item_id")
    histories = recent_actions(lake.read(c.EVENTS, reach), requests, items, spec.actions, ds, spec.history_length)
    return scoring_requests(requests, lists, histories, _NO_CROSS, spec).drop("lists", "rates")


def _as_tensor(vectors: np.ndarray) -> Tensor:
    """Over memory that is mapped read-only, which torch warns of; nothing here writes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(vectors)
