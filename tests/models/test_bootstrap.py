import numpy as np

from models.bootstrap import intervals


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(100):
        low, high = intervals(rng.random((200, 1)) < 0.3, seed=trial, resamples=300)
        covered += low[0] <= 0.3 <= high[0]
    assert 88 <= covered <= 100


def test_intervals_shrink_with_the_root_of_the_requests():
    rng = np.random.default_rng(2)
    widths = []
    for requests in (100, 10_000):
        low, high = intervals(rng.normal(size=(requests, 1)), seed=0)
        widths.append(high[0] - low[0])
    assert 6 < widths[0] / widths[1] < 16


def test_resamples_are_shared_by_columns_so_differences_pair():
    base = np.random.default_rng(3).normal(size=(300, 1))
    low, high = intervals(np.concatenate([base, base + 0.5, (base + 0.5) - base], axis=1), seed=0)
    assert np.allclose(low[1] - low[0], 0.5)
    assert np.allclose([low[2], high[2]], 0.5)


def test_missing_cells_are_left_out_and_an_empty_column_has_no_interval():
    values = np.array([[1.0, np.nan], [np.nan, np.nan], [1.0, np.nan]])
    low, high = intervals(values, seed=0, resamples=100)
    assert low[0] == high[0] == 1.0
    assert np.isnan([low[1], high[1]]).all()


def test_the_seed_decides():
    values = np.random.default_rng(4).normal(size=(50, 2))
    assert np.array_equal(intervals(values, 7), intervals(values, 7))
    assert not np.array_equal(intervals(values, 7), intervals(values, 8))
