"""Hashes to rows, against a dictionary."""

import numpy as np
import pytest

from scoring.hash_index import HashIndex


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_every_key_is_found_and_no_other(count):
    rng = np.random.default_rng(count)
    keys = np.unique(rng.integers(-(2**63), 2**63 - 1, count))
    rng.shuffle(keys)
    asked = np.concatenate([keys, keys[:1], rng.integers(-(2**63), 2**63 - 1, 50), [0]])
    rows = {key: row for row, key in enumerate(keys.tolist())}
    assert HashIndex.build(keys).rows_of(asked).tolist() == [rows.get(key, -1) for key in asked.tolist()]


def test_keys_that_want_one_slot_are_all_found():
    keys = np.arange(40, dtype=np.int64) << 40
    index = HashIndex.build(keys)
    assert index.rows_of(keys).tolist() == list(range(40))
    assert index.rows_of(np.array([1 << 60, 5])).tolist() == [-1, -1]
