"""The items nearest to each request's query vector, searched by Spark workers over the mapped item vectors."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.lake import Lake
from models.fusion import LinearFusionRanker
from models.model_dir import LoadedModel, load
from scoring.candidates.nearest import GPU_TILE, nearest
from scoring.candidates.running import NO_ROW
from scoring.config import PrerankConfig
from scoring.day import Day
from scoring.devices import task_device
from scoring.embed import open_model
from scoring.errors import ScoringError
from scoring.folded import CrossPlan
from scoring.item_matrix import ItemMatrix, as_tensor, shared_matrix
from scoring.item_vectors import current_matrix
from scoring.query_side import encode_queries, query_features
from scoring.request_lists import scoring_requests
from scoring.resource_profiles import scoring_profile

_SCHEMA = "request_id string, items array<string>"
#: Nearest items come from the vectors alone.
_NO_CROSS = CrossPlan.of((), None)
#: Best items that a GPU holds for the requests of one pass: some hundred megabytes.
_KEPT_ON_GPU = 1 << 22


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
    made, spec = matrix.manifest, loaded.card.spec
    day = Day(lake, config, ds, spec, _NO_CROSS, made)
    search = Search(
        str(model_dir.absolute()), made.model_version, day.folder, made.stamp, k, config.score.requests_per_batch
    )
    sides = scoring_requests(requests, day.lists(requests), day.histories(requests), _NO_CROSS, spec)
    profile, wanted = scoring_profile(config, lake.spark), config.score.device

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return neighbours(batches, search, task_device(wanted))

    # By number: Spark would put so few bytes into one task, however long each request takes.
    placed = sides.drop("lists", "rates").repartition(lake.tasks, F.xxhash64("request_id"))
    return placed.mapInArrow(run, _SCHEMA, profile=profile)


def neighbours(batches: Iterable[pa.RecordBatch], search: Search, device: torch.device) -> Iterator[pa.RecordBatch]:
    """In a worker: request_id and items of each request."""
    loaded = open_model(search.model_dir, search.version)
    matrix = shared_matrix(search.folder, search.stamp)
    loaded.model.to(device)
    size = search.requests_per_batch
    together = _searched_together(device, size, search.k)
    for batch in batches:
        for low in range(0, len(batch), together):
            part = batch.slice(low, together)
            items = nearest_of_batch(part, loaded, matrix, search.k, size)
            yield pa.RecordBatch.from_arrays([part["request_id"], items], names=["request_id", "items"])


def nearest_of_batch(batch: pa.RecordBatch, loaded: LoadedModel, matrix: ItemMatrix, k: int, size: int) -> pa.ListArray:
    """array<string> (R,) of R requests, on the model's device; ``size`` of them go through the query tower together."""
    with torch.inference_mode():
        parts = (batch.slice(low, size) for low in range(0, len(batch), size))
        features = (query_features(part, loaded.card.spec, matrix) for part in parts)
        queries = torch.cat([encode_queries(loaded.model, some, size) for some in features])  # (R, D)
    rows = nearest(queries, [as_tensor(shard) for shard in matrix.shards], k).rows
    found = rows != NO_ROW
    offsets = np.cumsum([0, *found.sum(axis=1)], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, matrix.ids.take(pa.array(rows[found])))


def _searched_together(device: torch.device, size: int, k: int) -> int:
    """Requests of one pass over the items, in whole batches of ``size``."""
    if device.type == "cpu":
        return size
    # Each pass brings all vectors over to the GPU.
    most = min(GPU_TILE.queries, _KEPT_ON_GPU // k)
    return size * max(1, most // size)
