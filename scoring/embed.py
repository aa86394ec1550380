"""The item tower over rows of a catalogue, inside Spark workers."""

import gc
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from pyspark.resource import ResourceProfile
from pyspark.sql import DataFrame

from models.contract import ItemFeatures
from models.features import FeatureSpec
from models.model_dir import LoadedModel, ModelCard, load
from scoring.config import AUTO
from scoring.devices import task_device, task_threads
from scoring.errors import ScoringError
from scoring.pair_scores import in_full_blocks

SCHEMA = "item_id string, feature_hash bigint, vector array<float>, buckets array<int>"
#: Items that the tower sees at once.
_BLOCK = 1024


def embed_items(
    items: DataFrame, model_dir: str, card: ModelCard, wanted: str = AUTO, profile: ResourceProfile | None = None
) -> DataFrame:
    """``items`` (item_id, feature_hash, and text, categories, numerics, dense as in an export) as SCHEMA has it.

    ``vector`` is the model's item side (Y,), ``buckets`` (1+K,) are those of the id and the categories. ``wanted`` is
    score.device, ``profile`` what tasks that run a model hold.
    """

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        loaded, device = open_model(model_dir, version), task_device(wanted)
        for batch in batches:
            for low in range(0, len(batch), _BLOCK):
                yield encode_items(batch.slice(low, _BLOCK), loaded, device)

    version = card.version
    columns = items.select("item_id", "feature_hash", "text", "categories", "numerics", "dense")
    return columns.mapInArrow(run, SCHEMA, profile=profile)


@lru_cache(maxsize=2)
def open_model(model_dir: str, version: str) -> LoadedModel:
    """One model load per worker process; ``version`` keeps a reused process from scoring with an older training."""
    torch.set_num_threads(task_threads())
    loaded = load(Path(model_dir))
    if loaded.card.version != version:
        raise ScoringError(f"{model_dir} was trained anew while it was scoring: run the same command again")
    # After each task a worker looks for garbage, a few tenths of a second long in all that torch has brought: it stays.
    gc.freeze()
    return loaded


def encode_items(batch: pa.RecordBatch, loaded: LoadedModel, device: torch.device) -> pa.RecordBatch:
    """N <= 1024 rows of ``items`` as SCHEMA has them."""
    features = item_features(batch, loaded.card.spec)
    model = loaded.model.to(device)

    def encoded(rows: torch.Tensor) -> torch.Tensor:
        return model.encode_item(features.take(rows).to(device)).cpu()

    with torch.inference_mode():
        vectors = in_full_blocks(encoded, _BLOCK, torch.arange(len(batch)))
    buckets = torch.cat([features.item_id[:, None], features.categories], dim=1)
    lists = [_lists(vectors.float().numpy(), pa.float32()), _lists(buckets.numpy(), pa.int32())]
    columns = [batch["item_id"], batch["feature_hash"], *lists]
    return pa.RecordBatch.from_arrays(columns, names=["item_id", "feature_hash", "vector", "buckets"])


def item_features(batch: pa.RecordBatch, spec: FeatureSpec) -> ItemFeatures:
    """Features (N,) of described items (item_id, text, categories, numerics, dense), as training has them."""
    numerics = batch["numerics"].flatten().to_numpy(zero_copy_only=False).reshape(len(batch), -1)
    return spec.item_features(
        batch["item_id"].to_pylist(), batch["text"].to_pylist(), batch["categories"].to_pylist(), numerics,
        _dense(batch["dense"], spec.dense_width),
    )  # fmt: skip


def _lists(table: npt.NDArray[np.generic], kind: pa.DataType) -> pa.ListArray:
    rows, width = table.shape
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1) * width, pa.int32()), pa.array(table.ravel(), kind))


def _dense(column: pa.ListArray, width: int) -> npt.NDArray[np.float32]:
    """(N, E); an item without a vector of the model's width gets zeros, as in training."""
    full = pc.fill_null(pc.equal(pc.list_value_length(column), width), False).to_numpy(zero_copy_only=False)
    dense = np.zeros((len(column), width), dtype=np.float32)
    if width:
        dense[full] = column.filter(pa.array(full)).flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return dense
