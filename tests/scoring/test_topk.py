"""The best k of several requests at once, against a full sort."""

import numpy as np
import pytest

from scoring.topk import best_of, sort_keys

SCORES = [0.5, -2.0, 0.5, 1.0, -0.0, 0.0, -1e-30, 7.0]


def best(sets: list[list[tuple[float, int]]], k: int) -> tuple[list[list[tuple[float, int]]], list[int]]:
    flat = [pair for pairs in sets for pair in pairs]
    keys = sort_keys(np.array([s for s, _ in flat], np.float32), np.array([row for _, row in flat], np.int32))
    found = best_of(keys, np.array([len(pairs) for pairs in sets]), k)
    edges = np.cumsum(found.counts)[:-1]
    parts = zip(np.split(found.scores, edges), np.split(found.rows, edges), strict=True)
    return [list(zip(s.tolist(), rows.tolist(), strict=True)) for s, rows in parts], found.repeated.tolist()


@pytest.mark.parametrize("k", [1, 3, 100])
def test_equals_a_full_sort_by_score_then_row(k):
    rng = np.random.default_rng(2)
    sets = [
        [(float(rng.choice(SCORES)), int(row)) for row in rng.permutation(50)[:size]] for size in (0, 1, 7, 40, 9, 0)
    ]
    found, repeated = best(sets, k)
    for pairs, ranking in zip(sets, found, strict=True):
        order = sorted(pairs, key=lambda one: (-one[0], one[1]))[:k]
        assert [row for _, row in ranking] == [row for _, row in order]
        assert [score for score, _ in ranking] == pytest.approx([score for score, _ in order])
    assert repeated == [0] * 6


def test_a_pair_that_comes_again_counts_once():
    assert best([[(1.0, 4), (2.0, 3), (1.0, 4), (1.0, 4)], [(1.0, 4)]], 2) == (
        [[(2.0, 3), (1.0, 4)], [(1.0, 4)]],
        [2, 0],
    )


def test_what_is_not_finite_is_never_ranked():
    found, repeated = best([[(float("nan"), 1), (float("inf"), 2), (-5.0, 3), (float("-inf"), 0)]], 9)
    assert (found, repeated) == ([[(-5.0, 3)]], [0])
