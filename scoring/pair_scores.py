"""Scores of pairs from vectors that are there already: the short way of linear fusions, and the way of any model."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.contract import Ranker

#: Pairs whose vectors lie in memory at once: as many bytes as one core's share of a cache, or enough to fill a GPU. A
#: worker sends several times as many together, for the last block is padded to the whole size.
_PAIRS_AT_ONCE = {"cpu": 8_192, "cuda": 1 << 16}


def dot_scores(q: Tensor, v: Tensor, rows: Tensor, lengths: Tensor, extra: Tensor) -> Tensor:
    """q . v + extra (P,) of pairs that lie request by request, ``lengths`` (R,) of each; q (R, D), v (N, D).

    ``rows`` (P,) int64. A pair's number does not depend on the pairs around it.
    """
    if q.device.type == "cpu" and q.dtype == v.dtype == torch.float32:
        return _sampled(q, v, rows, lengths, extra)
    request = torch.repeat_interleave(torch.arange(len(q), device=q.device), lengths)
    size = _PAIRS_AT_ONCE["cuda"]
    parts = [
        torch.linalg.vecdot(q[request[low : low + size]].float(), v[rows[low : low + size]].float())
        for low in range(0, len(rows), size)
    ]
    return torch.cat(parts) + extra if parts else extra


def _sampled(q: Tensor, v: Tensor, rows: Tensor, lengths: Tensor, extra: Tensor) -> Tensor:
    # The pairs are the non-zeros of a sparse (R, N): one pass reads each item's vector where it lies, gathers nothing.
    edges = torch.zeros(len(lengths) + 1, dtype=torch.int64)
    torch.cumsum(lengths, 0, out=edges[1:])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        pairs = torch.sparse_csr_tensor(edges, rows, extra, size=(len(q), len(v)), check_invariants=False)
        return torch.sparse.sampled_addmm(pairs, q, v.t()).values()


def model_scores(
    model: Ranker, q: Tensor, v: Tensor, rows: Tensor, lengths: Tensor, cross: npt.NDArray[np.float32]
) -> Tensor:
    """The head-weighted logit (P,) of the same pairs through ``model.score``, with cross features (P, C)."""
    request = torch.repeat_interleave(torch.arange(len(q), device=q.device), lengths)
    size, scores = _PAIRS_AT_ONCE[q.device.type], []
    for low in range(0, len(rows), size):
        places, chosen, features = request[low : low + size], rows[low : low + size], cross[low : low + size]

        def scored(places: Tensor, chosen: Tensor, features: Tensor) -> Tensor:
            return model.ranking_score(model.score(q[places], v[chosen], features))

        scores.append(in_full_blocks(scored, size, places, chosen, torch.from_numpy(features).to(q.device)))
    return torch.cat(scores) if scores else torch.zeros(0, device=q.device)


def in_full_blocks(function: Callable[..., Any], size: int, *tensors: Tensor) -> Any:
    """``function`` of tensors (n, ..) with n <= size, padded to ``size`` rows by repeating the first; its first n rows.

    A matrix product's last bits depend on how many rows it has: one size for all makes them the same whatever the
    other rows are.
    """
    count = len(tensors[0])
    if count == size:
        return function(*tensors)
    padding = torch.zeros(size - count, dtype=torch.int64)
    order = torch.cat([torch.arange(count), padding])
    return function(*(tensor[order.to(tensor.device)] for tensor in tensors))[:count]
