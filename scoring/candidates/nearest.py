"""Exact nearest items by dot product: a blocked matrix product and a running top-k, in bounded memory.

R queries against N items of width D cost 2 R N D FLOPs, whatever is done about the top-k: 26 GFLOP for 2,000 queries,
100,000 items and 64 dimensions, a fraction of a second on a laptop; 100,000 queries and 10 million items are 128 TFLOP,
seconds on one GPU and half a minute on a hundred cores. So below tens of millions of items no index library is needed,
and nothing is lost; beyond, an approximate index (faiss, usearch, ScaNN) gives up some of the items for time.

The product of a tile only says who may be among the best: it rounds, in an order that depends on the tile. Its error is
at most e |q| |v|; whoever lies within twice that of the k-th best so far stays, and ``exact_dots`` decides among those.
So the answer is the same to the bit for every number of shards, size of tiles, precision of the product and device.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scoring.candidates.exact import ItemShards
from scoring.candidates.running import NO_ROW, Items, Running, Scratch


@dataclass(frozen=True)
class Nearest:
    """The best k items of R queries, best first; equal scores by the lower row."""

    rows: npt.NDArray[np.int64]  # (R, k), NO_ROW where there were fewer than k items
    scores: npt.NDArray[np.float32]  # (R, k), -inf there


@dataclass(frozen=True)
class Tile:
    """How much of the product stands in memory at once: so many queries by so many items."""

    queries: int
    items: int


#: What stays near the second-level cache.
CPU_TILE = Tile(512, 2048)
#: Large enough that a GPU does not wait for its next kernel.
GPU_TILE = Tile(4096, 65536)
#: Items from which a sample is worth its product.
_GUESSED_FROM = 32768


def nearest(
    queries: Tensor, shards: Sequence[Tensor], k: int, precision: torch.dtype = torch.float32, tile: Tile | None = None
) -> Nearest:
    """The ``k`` nearest of N items to each of the queries (R, D), searched on the device of the queries.

    ``shards`` hold the items' vectors (n, D), fp32, in the order of their rows; they may lie elsewhere than the queries
    (on the CPU, mapped from a file) and are then brought over tile by tile. ``precision`` is that of the product, fp32
    or bf16. An item with a number that is not finite is nobody's neighbour, and such a query has none.
    """
    if k < 1:
        raise ValueError(f"nearest looks for 1 item or more, not for {k}")
    if not len(queries):
        return Nearest(np.empty((0, k), np.int64), np.empty((0, k), np.float32))
    items, queries = ItemShards(shards), queries.to(torch.float32)
    tile = tile or (GPU_TILE if queries.is_cuda else CPU_TILE)
    with torch.inference_mode():
        rows, scores, complete = _searched(queries, items, k, precision, tile, guess=len(items) >= _GUESSED_FROM)
        again = (~complete).nonzero().view(-1)
        if len(again):
            rows[again], scores[again], _ = _searched(queries[again], items, k, precision, tile, guess=False)
    return Nearest(rows.cpu().numpy(), scores.cpu().numpy())


def _searched(
    queries: Tensor, items: ItemShards, k: int, precision: torch.dtype, tile: Tile, guess: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and scores (R, k), and for which queries (R,) they are what was asked for: only a guess can fail."""
    device = queries.device
    scratch = Scratch.of(min(tile.queries, len(queries)), tile.items, precision, device)
    blocks = [Running(part, items, k, scratch) for part in queries.split(tile.queries)]
    if guess:
        sample = items.sample(min(max(len(items) // 32, 4096), 16384)).to(device, torch.float32)
        sample = sample[sample.isfinite().all(1)]
        expected = k * len(sample) / len(items)
        rank = math.ceil(expected + 4 * math.sqrt(expected) + 4)
        for block in blocks if rank < len(sample) // 4 else ():
            block.guess(sample, rank)
    for shard, start in zip(items.parts, items.starts, strict=True):
        for low in range(0, len(shard), tile.items):
            met = Items.of(shard[low : low + tile.items].to(device, torch.float32), start + low, precision)
            for block in blocks:
                block.meet(met)
    found = [(*block.best(), block.complete()) for block in blocks]
    rows, scores, complete = (torch.cat(columns) for columns in zip(*found, strict=True))
    return rows, scores, complete


def merged(parts: Sequence[Nearest], k: int) -> Nearest:
    """The best k of several searches of the same queries over different items, with the rows of the whole.

    Searching shards apart, on other hosts too, and merging gives what one search over all of them does.
    """
    rows, scores = (np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("rows", "scores"))
    last = np.where(rows == NO_ROW, np.iinfo(np.int64).max, rows)
    order = np.lexsort((last, -scores), axis=1)[:, :k]
    return Nearest(np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1))
