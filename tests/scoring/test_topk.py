"""The best k of a request."""

import numpy as np
import pytest

from scoring.topk import top_k

SCORES = np.array([0.5, 2.0, 0.5, 1.0, 0.5], dtype=np.float32)
IDS = ["d", "a", "b", "e", "c"]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 9])
def test_equals_a_full_sort_by_score_then_id(k):
    order = sorted(range(len(IDS)), key=lambda at: (-SCORES[at], IDS[at]))
    assert top_k(SCORES, IDS, k) == order[:k]


def test_ties_at_the_cut_are_decided_by_id():
    assert [IDS[at] for at in top_k(SCORES, IDS, 3)] == ["a", "e", "b"]


def test_nothing_gives_nothing():
    assert top_k(np.array([], dtype=np.float32), [], 3) == []
