"""A small export in the manifest's format, with structure to be found.

Items have a topic and a brand, in words; a query names a topic. Engagement follows the topic (text tells), a hidden
query-item affinity (only the cross features tell) and the brand that a user's history is full of.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from etl.arrow_files import arrow_type
from etl.contract import manifest as m
from etl.contract.manifest import TEST, TRAIN, VALIDATION, Head, Manifest, Shard

CROSS = ("all__click_share_7d", "all__click_rate_30d", "country__click_decay_hl14d", "all__has_history")
ACTIONS = ("impression", "click", "purchase")
BRANDS = 6
DAY = 86_400
EPOCH = 1_767_225_600


@dataclass(frozen=True)
class World:
    topics: int = 8
    items: int = 120
    queries: int = 40
    users: int = 50
    shown: int = 8
    requests: tuple[int, int, int] = (500, 120, 200)
    """In train, validation and test."""
    seed: int = 3


def write_export(directory: Path, world: World = World(), has_oracle: bool = True) -> Path:
    """Write an export and return its directory."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(world.seed)
    topic, brand = np.arange(world.items) % world.topics, rng.integers(0, BRANDS, world.items)
    affinity = rng.normal(size=(world.queries, world.items)) * 1.5
    taste = rng.integers(0, BRANDS, world.users)
    _write_items(directory, topic, brand, rng)
    _write_queries(directory, world)
    lengths = _write_histories(directory, world, brand, taste, rng)
    _write_query_items(directory, affinity)
    shards, positives, first = [], np.zeros(2, dtype=int), 0
    for index, (split, count) in enumerate(zip((TRAIN, VALIDATION, TEST), world.requests, strict=True)):
        path = f"rows/{index:05d}.parquet"
        table = _rows(world, rng, range(first, first + count), (topic, brand, affinity, taste), lengths, has_oracle)
        (directory / "rows").mkdir(exist_ok=True)
        pq.write_table(table, directory / path)
        shards.append(Shard(path, split, len(table)))
        positives += np.array(table["labels"].to_pylist()).sum(axis=0)
        first += count
    manifest(world, tuple(shards), positives, has_oracle).write(directory)
    return directory


def manifest(world: World, shards: tuple[Shard, ...], positives: np.ndarray, has_oracle: bool) -> Manifest:
    return Manifest(
        start_ds="2026-01-01",
        end_ds="2026-01-03",
        lag_days=0,
        history_length=20,
        history_days=90,
        heads=(Head("engagement", ("click", "purchase"), 20.0), Head("purchase", ("purchase",), 5.0)),
        actions=ACTIONS,
        segments={"country": ("", "DE", "FR"), "gender": ("", "f", "m")},
        cross=CROSS,
        categories=("category",),
        numerics=("price",),
        dense=("vector",),
        shards=shards,
        items=world.items,
        queries=world.queries,
        users=world.users,
        positives={"engagement": int(positives[0]), "purchase": int(positives[1])},
        sources={"events": 1},
        config_hash="0" * 16,
        has_oracle=has_oracle,
        query_items=world.queries - 1,
    )


def write_arrow_table(path: Path, columns: dict[str, list], kinds: dict[str, str]) -> None:
    """One Arrow file of an export."""
    table = pa.record_batch({name: pa.array(values, arrow_type(kinds[name])) for name, values in columns.items()})
    with ipc.new_file(str(path), table.schema) as writer:
        writer.write_batch(table)


def _write_items(directory: Path, topic: np.ndarray, brand: np.ndarray, rng: np.random.Generator) -> None:
    write_arrow_table(
        directory / m.ITEMS_FILE,
        {
            "item_id": [f"i{index:04d}" for index in range(len(topic))],
            "text": [f"Topic{a} brand{b} thing{i % 17}" for i, (a, b) in enumerate(zip(topic, brand, strict=True))],
            "categories": [[f"brand{b}"] for b in brand],
            "numerics": [
                [float("nan") if index % 7 == 0 else float(price)]
                for index, price in enumerate(rng.gamma(2, 9, len(topic)))
            ],
            "dense": [[float(x) for x in rng.normal(size=3)] for _ in topic],
        },
        m.ITEMS,
    )


def _write_queries(directory: Path, world: World) -> None:
    keys = [f"topic{index % world.topics} q{index}" for index in range(world.queries)]
    write_arrow_table(directory / m.QUERIES_FILE, {"query_key": keys, "text": [""] * len(keys)}, m.QUERIES)


def _write_histories(
    directory: Path, world: World, brand: np.ndarray, taste: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    lengths = rng.integers(0, 15, world.users)
    items = [rng.choice(np.flatnonzero(brand == taste[user]), lengths[user]) for user in range(world.users)]
    write_arrow_table(
        directory / m.HISTORIES_FILE,
        {
            "items": items,
            "actions": [rng.integers(1, 3, length) for length in lengths],
            "ts": [EPOCH - np.arange(length)[::-1] * 3_000 for length in lengths],
        },
        m.HISTORIES,
    )
    return lengths


def _write_query_items(directory: Path, affinity: np.ndarray) -> None:
    """Of every query but the last its best items, more of them the more frequent it is."""
    lists = [np.argsort(-row)[: max(1, 20 - number)] for number, row in enumerate(affinity[:-1])]
    write_arrow_table(directory / m.QUERY_ITEMS_FILE, {"items": lists}, m.QUERY_ITEMS)


def _rows(
    world: World,
    rng: np.random.Generator,
    numbers: range,
    truth: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    lengths: np.ndarray,
    has_oracle: bool,
) -> pa.Table:
    topic, brand, affinity, taste = truth
    count = len(numbers)
    query = np.minimum(rng.geometric(0.08, count) - 1, world.queries - 1)
    user = rng.integers(0, world.users, count)
    end = rng.integers(0, lengths[user] + 1)
    item = np.stack([rng.choice(world.items, world.shown, replace=False) for _ in numbers])
    match = topic[item] == (query % world.topics)[:, None]
    liked = (brand[item] == taste[user][:, None]) & (end > 0)[:, None]
    hidden = affinity[query[:, None], item]
    probability = 1 / (1 + np.exp(-(-3.0 + 2.5 * match + 1.5 * hidden + 1.0 * liked)))
    label = rng.random(item.shape) < probability
    strength = np.exp(hidden)
    seen = rng.random(item.shape) < 0.8
    cross = (
        np.stack([1e-3 * strength, 0.05 * strength**0.5, 30 * strength, np.ones(item.shape)], axis=-1) * seen[..., None]
    )
    labels = np.stack([label, label & (rng.random(item.shape) < 0.4)], axis=-1).astype(np.int8)
    segments = rng.integers(0, 3, (count, 2))
    ts = EPOCH + np.array(numbers) * 60

    def per_row(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, world.shown)

    return pa.table(
        {
            "ds": ["2026-01-01"] * (count * world.shown),
            "ts": pa.array(per_row(ts), pa.int64()),
            "request": pa.array(per_row(np.array(numbers) * 7919 + 5), pa.int64()),
            "query": pa.array(per_row(query), pa.int32()),
            "item": pa.array(item.ravel(), pa.int32()),
            "user": pa.array(per_row(user), pa.int32()),
            "history_end": pa.array(per_row(end), pa.int32()),
            "query_items": pa.array(per_row(np.where(query < world.queries - 1, query, -1)), pa.int32()),
            "position": pa.array(np.tile(np.arange(world.shown), count), pa.int32()),
            "segments": pa.array(list(np.repeat(segments, world.shown, axis=0)), pa.list_(pa.int32())),
            "labels": pa.array(list(labels.reshape(-1, 2)), pa.list_(pa.int8())),
            "weight": pa.array(np.ones(count * world.shown), pa.float32()),
            "cross": pa.array(list(cross.reshape(-1, len(CROSS))), pa.list_(pa.float32())),
            "oracle": pa.array(probability.ravel() if has_oracle else np.full(item.size, np.nan), pa.float64()),
        }
    )
