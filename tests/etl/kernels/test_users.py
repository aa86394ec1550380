import numpy as np
import pyarrow as pa
import pytest

from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.kernels.pairs import Entries, Pairs
from etl.kernels.users import hashes_of, merged_sketches, users_by_window
from etl.kernels.windows import Reach

DS = "2024-03-01"


def hash_of(user: int) -> int:
    """A fixed scattering of users over the 64-bit numbers."""
    return int(np.array(user * 0x9E3779B97F4A7C15 % 2**64, dtype=np.uint64).astype(np.int64))


def sketch(users, size: int) -> list[int]:
    return sorted({hash_of(user) for user in users})[:size]


def hashes(days: list[tuple[int, range | list[int]]], windows, size: int):
    """Of one pair, from (age, users) of single days."""
    parts = [DateRange(shift_ds(DS, -age), shift_ds(DS, -age)) for age in range(max(windows))][::-1]
    keys = {"query_key": ["q"], "segment_name": ["all"], "segment_value": [""]}
    pairs = Pairs(pa.table(keys), np.zeros(1, np.int64), np.zeros(1, np.int64), pa.array(["i"]))
    place = np.array([len(parts) - 1 - age for age, _ in days], dtype=np.int64)
    lists = pa.array([sketch(users, size) for _, users in days], pa.list_(pa.int64()))
    entries = Entries(pairs, np.zeros(len(days), np.int64), place, {c.USERS_SKETCH: lists})
    return hashes_of(entries, Reach.of(parts, parts, DS, windows), size)


def users(days, windows=(1, 3), size=4096) -> list[int]:
    return users_by_window(hashes(days, windows, size))[0].tolist()


def test_below_the_size_a_window_counts_each_user_once():
    assert users([(3, [5]), (2, [4]), (1, [2, 3]), (0, [1, 2])], (1, 2, 3, 4)) == [2, 3, 4, 5]


def test_a_window_without_users_has_none():
    assert users([(2, [1])]) == [0, 1]


def test_above_the_size_the_figure_is_an_estimate_that_merging_keeps():
    together = users([(0, range(6000))], (1,), 1024)
    assert together[0] == pytest.approx(6000, rel=0.1)
    day, both = users([(1, range(2000, 6000)), (0, range(4000))], (1, 2), 1024)
    assert day == pytest.approx(4000, rel=0.1)
    assert both == pytest.approx(6000, rel=0.1)


def test_a_full_sketch_of_an_older_day_leaves_a_short_window_exact():
    assert users([(2, range(50)), (0, [1000, 1001])], (1, 3), 8)[0] == 2


def test_a_merged_sketch_stands_for_its_days():
    days = [(1, range(2000, 6000)), (0, range(4000))]
    [merged] = merged_sketches(hashes(days, (2,), 1024), 1024).to_pylist()
    assert merged == sketch(range(6000), 1024)
    [small] = merged_sketches(hashes([(1, [1, 2]), (0, [2, 3])], (2,), 1024), 1024).to_pylist()
    assert small == sketch([1, 2, 3], 1024)
