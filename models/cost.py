"""What a model costs per pair: what it declares, what it holds, and how fast it is here.

Pairs per second are of ``Ranker.score`` on sides that are already encoded and gathered: one process, as many threads as
torch has, the median of several timings. It is a measurement of this machine, to compare models with each other on;
the declared FLOPs and bytes are the same everywhere.
"""

import statistics
import time
from typing import Any

import torch
from torch import Tensor

from models.contract import Ranker
from models.dataset import Export
from models.loader import RequestLoader
from models.scorers import TowerScorer

_PAIRS = 4096
_TIMINGS = 7
_SECONDS = 0.05
"""Of one timing: so many calls that it lasts about this long."""
_REQUESTS = 64


def cost_of(scorer: TowerScorer, export: Export, split: str) -> dict[str, Any]:
    """Keys flops_per_pair, bytes_per_pair, parameters, pairs_per_second, threads; pairs are those of the split."""
    model = scorer.model.eval()
    cost = model.cost()
    loader = RequestLoader(scorer.tables(export), export.split(split), _REQUESTS)
    return {
        "flops_per_pair": cost.flops,
        "bytes_per_pair": cost.bytes,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "pairs_per_second": round(pairs_per_second(model, *_encoded_pairs(model, loader))),
        "threads": torch.get_num_threads(),
    }


def pairs_per_second(model: Ranker, q: Tensor, v: Tensor, cross: Tensor) -> float:
    """Of ``score`` on q (P, X), v (P, Y) and cross (P, C)."""
    with torch.inference_mode():
        calls, seconds = 1, _timed(model, q, v, cross, 1)
        while seconds < _SECONDS:
            calls *= 2
            seconds = _timed(model, q, v, cross, calls)
        seconds = statistics.median(_timed(model, q, v, cross, calls) for _ in range(_TIMINGS))
    return calls * len(q) / seconds


def _timed(model: Ranker, q: Tensor, v: Tensor, cross: Tensor, calls: int) -> float:
    _finished(q.device)
    began = time.perf_counter()
    for _ in range(calls):
        model.score(q, v, cross)
    _finished(q.device)
    return max(time.perf_counter() - began, 1e-9)


def _finished(device: torch.device) -> None:
    """Wait for what was asked of a GPU: calls come back before their work is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _encoded_pairs(model: Ranker, loader: RequestLoader) -> tuple[Tensor, Tensor, Tensor]:
    """Sides and cross features of _PAIRS pairs: the first ones of the split, over again where it has fewer."""
    batch = next(loader.in_order()).to(model.head_weights.device)
    again = torch.arange(_PAIRS, device=batch.cross.device) % len(batch.rows)
    with torch.inference_mode():
        q = model.encode_query(batch.queries)[batch.pair_query[again]]  # (P, X)
        v = model.encode_item(batch.items)[batch.pair_item[again]]  # (P, Y)
    return q, v, batch.cross[again]
