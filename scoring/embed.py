"""The item tower over a catalogue snapshot: one row of vectors and features per item, shipped to every host once.

The matrix lies in a file that workers map into memory: they share one copy per host.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from pyspark import SparkFiles
from pyspark.resource import ResourceProfile
from pyspark.sql import DataFrame

from models.contract import F, ItemFeatures
from models.features import FeatureSpec
from models.model_dir import LoadedModel, ModelCard, load
from scoring.config import AUTO
from scoring.devices import task_device, task_threads
from scoring.errors import ScoringError

VECTORS = "vectors.npy"
BUCKETS = "buckets.npy"
_BLOCK = 64
_SCHEMA = "item_id string, vector array<float>, buckets array<int>"


@dataclass(frozen=True)
class ItemMatrix:
    """N items in the order of their ids: ``vectors`` (N, D), and for histories id and category ``buckets`` (N, 1+K)."""

    vectors: npt.NDArray[np.float32]
    buckets: npt.NDArray[np.int32]


def embed_items(
    items: DataFrame, model_dir: str, card: ModelCard, wanted: str = AUTO, profile: ResourceProfile | None = None
) -> pa.Table:
    """Item vectors of a snapshot, sorted by item_id: columns item_id, vector, buckets.

    ``items`` has item_id, text, categories, numerics, dense as in an export; the tower runs in the executors.
    """

    def run(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        device = task_device(wanted)
        model = open_model(model_dir, version, device)
        for batch in batches:
            if len(batch):
                yield _encode(batch, model, spec, device)

    spec, version = card.spec, card.version

    columns = items.select("item_id", "text", "categories", "numerics", "dense")
    return columns.mapInArrow(run, _SCHEMA, profile=profile).toArrow().sort_by("item_id")


def write_matrix(table: pa.Table, folder: Path) -> None:
    """Store the matrix of an ``embed_items`` table as two .npy files."""
    for column, name, kind in (("vector", VECTORS, np.float32), ("buckets", BUCKETS, np.int32)):
        flat = table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(kind)
        np.save(folder / name, flat.reshape(len(table), -1) if len(table) else flat.reshape(0, 1))


def shipped_matrix(prefix: str) -> ItemMatrix:
    """In a worker: the matrix that the driver shipped under ``prefix``, mapped into memory."""
    vectors = np.load(SparkFiles.get(prefix + VECTORS), mmap_mode="r", allow_pickle=False)
    buckets = np.load(SparkFiles.get(prefix + BUCKETS), mmap_mode="r", allow_pickle=False)
    return ItemMatrix(vectors, buckets)


@lru_cache(maxsize=2)
def open_model(model_dir: str, version: str, device: torch.device) -> LoadedModel:
    """One model load per worker process; ``version`` keeps a reused process from scoring with an older training."""
    torch.set_num_threads(task_threads())
    loaded = load(Path(model_dir))
    loaded.model.to(device)
    if loaded.card.version != version:
        raise ScoringError(f"{model_dir} was trained anew while it was scoring: run the same command again")
    return loaded


def item_table(buckets: npt.NDArray[np.int32]) -> ItemFeatures:
    """The part of item features that a query tower looks up for histories."""
    rows = len(buckets)
    copied = torch.from_numpy(np.array(buckets))
    return ItemFeatures(
        text=torch.zeros(rows, 0, dtype=torch.int32),
        item_id=copied[:, 0],
        categories=copied[:, 1:],
        numerics=torch.zeros(rows, 0),
        dense=torch.zeros(rows, 0),
    )


def in_full_blocks(encode: Callable[[F], torch.Tensor], features: F, device: torch.device) -> torch.Tensor:
    """``encode`` over blocks of one size, the last one filled up with its first row: (N, X) on the CPU.

    The last bits of a matrix product depend on its number of rows; so a row's do not depend on the rows beside it.
    """
    found = []
    for rows in torch.arange(len(features)).split(_BLOCK):
        filled = torch.cat([rows, rows[:1].expand(_BLOCK - len(rows))])
        found.append(encode(features.take(filled).to(device)).cpu()[: len(rows)])
    return torch.cat(found)


def _encode(batch: pa.RecordBatch, model: LoadedModel, spec: FeatureSpec, device: torch.device) -> pa.RecordBatch:
    rows = batch.num_rows
    numerics = batch["numerics"].flatten().to_numpy(zero_copy_only=False).reshape(rows, -1)
    dense = _dense(batch["dense"], spec.dense_width)
    features = spec.item_features(
        batch["item_id"].to_pylist(), batch["text"].to_pylist(), batch["categories"].to_pylist(), numerics, dense
    )
    with torch.inference_mode():
        vectors = in_full_blocks(model.model.encode_item, features, device)
    buckets = torch.cat([features.item_id[:, None], features.categories], dim=1)
    lists = [pa.array(list(table.numpy()), kind) for table, kind in
             ((vectors, pa.list_(pa.float32())), (buckets, pa.list_(pa.int32())))]  # fmt: skip
    return pa.RecordBatch.from_arrays([batch["item_id"], *lists], names=["item_id", "vector", "buckets"])


def _dense(column: pa.ListArray, width: int) -> npt.NDArray[np.float32]:
    """(N, E); an item without a vector of the model's width gets zeros, as in training."""
    full = pc.fill_null(pc.equal(pc.list_value_length(column), width), False).to_numpy(zero_copy_only=False)
    dense = np.zeros((len(column), width), dtype=np.float32)
    if width:
        dense[full] = column.filter(pa.array(full)).flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    return dense
