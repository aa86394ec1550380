"""A made-up export of any size in both layouts: normalised (ours), and flat (all that a batch holds in every row)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyarrow import ipc

from etl.arrow_files import arrow_type
from etl.contract import manifest as m
from models.loader import RequestLoader

EPOCH = 1_767_225_600


@dataclass(frozen=True)
class Size:
    requests: int = 8_000
    shown: int = 40
    items: int = 20_000
    queries: int = 3_000
    users: int = 2_000
    history: int = 150
    cross: int = 60
    dense: int = 192
    heads: int = 3


def write_normalised(directory: Path, size: Size) -> Path:
    """Training and validation splits; every request sees 100 actions or more."""
    rng = np.random.default_rng(11)
    (directory / "rows").mkdir(parents=True)
    words = [f"word{number}" for number in range(2_000)]
    texts = [" ".join(rng.choice(words, 6)) for _ in range(size.items)]
    _write_ipc(
        directory / m.ITEMS_FILE,
        {
            "item_id": [f"i{number:07d}" for number in range(size.items)],
            "text": texts,
            "categories": [[f"c{number % 50}"] for number in range(size.items)],
            "numerics": [[float(x)] for x in rng.gamma(2, 9, size.items)],
            "dense": list(rng.standard_normal((size.items, size.dense), dtype=np.float32)),
        },
        m.ITEMS,
    )
    keys = [" ".join(rng.choice(words, 2)) + f" {number}" for number in range(size.queries)]
    _write_ipc(directory / m.QUERIES_FILE, {"query_key": keys, "text": keys}, m.QUERIES)
    shape = (size.users, size.history)
    histories = {
        "items": list(rng.integers(0, size.items, shape, dtype=np.int32)),
        "actions": list(rng.integers(1, 4, shape, dtype=np.int8)),
        "ts": list(EPOCH - np.sort(rng.integers(1, 90 * 86_400, shape))[:, ::-1]),
    }
    _write_ipc(directory / m.HISTORIES_FILE, histories, m.HISTORIES)
    shards, positives = [], 0
    for number, (split, requests) in enumerate(((m.TRAIN, size.requests), (m.VALIDATION, size.requests // 20))):
        path = f"rows/{number:05d}.parquet"
        table = _rows(rng, size, number * size.requests, requests)
        pq.write_table(table, directory / path)
        shards.append(m.Shard(path, split, len(table)))
    manifest = _manifest(size, tuple(shards), positives)
    manifest.write(directory)
    return directory


def write_flat(loader: RequestLoader, target: Path) -> Path:
    """The rows of ``loader`` in its order, each with all that a batch holds of it: sequences, hashed text, vectors."""
    writer = None
    for batch in loader.in_order():
        queries = {f"query_{name}": value[batch.pair_query] for name, value in vars(batch.queries).items()}
        items = {f"item_{name}": value[batch.pair_item] for name, value in vars(batch.items).items()}
        rows = {"cross": batch.cross, "labels": batch.labels.to(torch.int8), "weight": batch.weight}
        flat = pa.table({name: _column(value.numpy()) for name, value in (queries | items | rows).items()})
        if writer is None:
            writer = pq.ParquetWriter(target, flat.schema)
        writer.write_table(flat)
    assert writer is not None
    writer.close()
    return target


def _column(values: npt.NDArray[np.generic]) -> pa.Array:
    return (
        pa.array(values)
        if values.ndim == 1
        else _lists(values.reshape(len(values), -1), pa.from_numpy_dtype(values.dtype))
    )


def _rows(rng: np.random.Generator, size: Size, first: int, requests: int) -> pa.Table:
    n = requests * size.shown

    def per_row(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return np.repeat(values, size.shown)

    item = np.argsort(rng.random((requests, 400), dtype=np.float32), axis=1)[:, : size.shown]
    item = (item + rng.integers(0, size.items - 400, (requests, 1))).astype(np.int32)
    seen = rng.random((n, 1)) < 0.3
    cross = (rng.gamma(1, 1, (n, size.cross)) * seen).astype(np.float32)
    chance = 1 / (1 + np.exp(2.5 - cross[:, 0]))
    labels = (rng.random((n, size.heads)) < chance[:, None] * [1.0, 0.4, 0.6]).astype(np.int8)
    return pa.table(
        {
            "ds": ["2026-01-01"] * n,
            "ts": per_row(np.arange(first, first + requests, dtype=np.int64) + EPOCH),
            "request": per_row(np.arange(first, first + requests, dtype=np.int64) * 7919),
            "query": per_row((rng.zipf(1.3, requests) % size.queries).astype(np.int32)),
            "item": item.ravel(),
            "user": per_row(rng.integers(0, size.users, requests, dtype=np.int32)),
            "history_end": per_row(rng.integers(100, size.history + 1, requests, dtype=np.int32)),
            "position": np.tile(np.arange(size.shown, dtype=np.int32), requests),
            "segments": _lists(np.zeros((n, 0), np.int32), pa.int32()),
            "labels": _lists(labels, pa.int8()),
            "weight": np.ones(n, np.float32),
            "cross": _lists(cross, pa.float32()),
            "oracle": np.full(n, np.nan),
        }
    )


def _lists(matrix: npt.NDArray[np.generic], kind: pa.DataType) -> pa.ListArray:
    rows, width = matrix.shape
    return pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * width, pa.array(matrix.ravel(), kind))


def _write_ipc(path: Path, columns: dict[str, list[object]], kinds: dict[str, str]) -> None:
    batch = pa.record_batch({name: pa.array(values, arrow_type(kinds[name])) for name, values in columns.items()})
    with ipc.new_file(str(path), batch.schema) as writer:
        writer.write_batch(batch)


def _manifest(size: Size, shards: tuple[m.Shard, ...], positives: int) -> m.Manifest:
    names = [f"head{number}" for number in range(size.heads)]
    return m.Manifest(
        start_ds="2026-01-01",
        end_ds="2026-01-02",
        lag_days=0,
        history_length=100,
        history_days=90,
        heads=tuple(m.Head(name, ("click",), 1.0) for name in names),
        actions=("impression", "click", "long_click", "save"),
        segments={},
        cross=tuple(f"all__feature{number}" for number in range(size.cross)),
        categories=("category",),
        numerics=("price",),
        dense=("vector",),
        shards=shards,
        items=size.items,
        queries=size.queries,
        users=size.users,
        positives=dict.fromkeys(names, positives),
        sources={},
        config_hash="",
        has_oracle=False,
    )
