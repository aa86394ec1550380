"""Requests searched together find what each finds alone; how many there are depends on the device."""

from types import SimpleNamespace

import pytest
import torch

from scoring.candidates.neighbours import _searched_together, nearest_of_batch
from tests.scoring.test_worker import SPEC, matrix, model, requests

__all__ = ["matrix", "model"]


def test_requests_of_several_batches_are_searched_in_one_pass(model, matrix):
    loaded = SimpleNamespace(model=model, card=SimpleNamespace(spec=SPEC))
    batch = requests([[], [], []], [[1], [2, 3], []], [[4], [], [8, 0]])
    alone = [nearest_of_batch(batch.slice(at, 1), loaded, matrix, 4, 2)[0].as_py() for at in range(3)]
    assert nearest_of_batch(batch, loaded, matrix, 4, 2).to_pylist() == alone
    assert [len(set(found)) for found in alone] == [4, 4, 4]


@pytest.mark.parametrize(
    ("device", "size", "k", "expected"),
    [("cpu", 256, 200, 256), ("cuda", 256, 200, 4096), ("cuda", 300, 200, 3900), ("cuda", 8192, 200, 8192),
     ("cuda", 256, 4096, 1024), ("cuda", 256, 10**7, 256)],
)  # fmt: skip
def test_a_gpu_searches_thousands_of_requests_per_pass_as_its_memory_allows(device, size, k, expected):
    assert _searched_together(torch.device(device), size, k) == expected
