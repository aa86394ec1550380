"""Scores of pairs in blocks: what is computed beside the pairs themselves, and that it changes none of them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scoring import pair_scores
from scoring.pair_scores import model_scores
from scoring.worker import Limits


@pytest.mark.parametrize("size", [2, 5, 8])
def test_only_the_last_block_is_padded(monkeypatch: pytest.MonkeyPatch, size: int):
    blocks = []

    def score(q, v, cross):
        blocks.append(len(q))
        return (q * v).sum(1) + cross[:, 0]

    monkeypatch.setitem(pair_scores._PAIRS_AT_ONCE, "cpu", size)
    model = SimpleNamespace(score=score, ranking_score=lambda logits: logits)
    q, v = torch.arange(4.0).view(2, 2), torch.arange(6.0).view(3, 2)
    rows, cross = torch.tensor([2, 0, 1, 1, 0]), np.arange(5, dtype=np.float32)[:, None]
    found = model_scores(model, q, v, rows, torch.tensor([2, 3]), cross)
    assert found.tolist() == [5.0, 2.0, 15.0, 16.0, 7.0]
    assert blocks == [size] * -(-5 // size)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_full_batch_of_a_worker_is_not_mostly_padding(device: str):
    pairs = Limits(top_k=1, requests=1).pairs
    assert pair_scores._PAIRS_AT_ONCE[device] <= pairs // 4
