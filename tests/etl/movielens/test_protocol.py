import numpy as np
import pytest

from etl.contract.errors import UsageError
from etl.contract.manifest import SPLITS
from etl.movielens.config import PUBLISHED_WITH_LEAK, TIME, MovieLensConfig
from etl.movielens.protocol import (
    PRIOR_ROWS,
    Labelled,
    earlier_means,
    histories,
    known_rows,
    labelled,
    leaked_means,
    split_of_rows,
)

TRAIN, VALIDATION, TEST = range(3)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def drawn(rows: int = 200, users: int = 7, items: int = 11, seconds: int = 60, seed: int = 1) -> Labelled:
    """Rows with many ties in time."""
    rng = np.random.default_rng(seed)
    rating = rng.choice([1.0, 2.0, 4.0, 5.0], rows)
    return labelled(rng.integers(0, users, rows), rng.integers(0, items, rows), rating, rng.integers(0, seconds, rows))


def test_threes_are_dropped_and_above_is_positive_in_time_order():
    rows = labelled(ints(0, 0, 1, 1), ints(5, 6, 7, 8), np.array([4.0, 3.0, 2.0, 5.0]), ints(30, 10, 10, 20))
    assert rows.item.tolist() == [7, 8, 5]
    assert rows.label.tolist() == [0, 1, 1]
    assert rows.ts.tolist() == [10, 20, 30]


def test_a_random_split_is_70_10_20_and_follows_its_seed():
    rows = drawn(1000)
    (_, first), (_, again) = split_of_rows(rows, MovieLensConfig(seed=1)), split_of_rows(rows, MovieLensConfig(seed=1))
    _, other = split_of_rows(rows, MovieLensConfig(seed=2))
    assert np.bincount(first).tolist() == [700, 100, 200]
    assert (first == again).all()
    assert (first != other).any()


def test_a_split_by_time_never_cuts_a_second():
    rows = drawn(1000, seconds=37)
    _, split = split_of_rows(rows, MovieLensConfig(split=TIME))
    assert (np.diff(split) >= 0).all()
    assert all(len(set(split[rows.ts == ts])) == 1 for ts in set(rows.ts))
    assert 0.65 < (split == TRAIN).mean() < 0.72
    assert 0.18 < (split == TEST).mean() < 0.25


def test_a_split_that_stays_empty_is_refused():
    rows = Labelled(ints(0, 0), ints(1, 2), ints(10, 10), ints(0, 1))
    for config in (MovieLensConfig(), MovieLensConfig(split=TIME)):
        with pytest.raises(UsageError, match="none is left for split"):
            split_of_rows(rows, config)


def test_published_validation_is_of_the_last_movies_and_users_without_a_positive_are_dropped():
    rows = drawn(400, users=40)
    kept, split = split_of_rows(rows, MovieLensConfig(PUBLISHED_WITH_LEAK, seed=3))
    assert kept.item[split == TRAIN].max() <= kept.item[split == VALIDATION].min()
    for side in (split == TEST, split != TEST):
        assert all(kept.label[side & (kept.user == user)].any() for user in set(kept.user[side]))
    assert len(kept) < len(rows)


def test_published_means_need_a_random_split_and_no_flag():
    with pytest.raises(UsageError, match="splits at random"):
        MovieLensConfig(PUBLISHED_WITH_LEAK, split=TIME)
    with pytest.raises(UsageError, match="leave --means out"):
        MovieLensConfig(PUBLISHED_WITH_LEAK, means=True)


@pytest.mark.parametrize("kind", ["random", TIME])
def test_history_is_of_known_likes_strictly_earlier(kind):
    rows, split = split_of_rows(drawn(), MovieLensConfig(split=kind))
    known = known_rows(split, MovieLensConfig(split=kind))
    found, ends = histories(rows, known, users=9)
    for row in range(len(rows)):
        start = found.offsets[rows.user[row]]
        seen = slice(start, start + ends[row])
        before = [
            other
            for other in range(len(rows))
            if known[other]
            and rows.label[other]
            and rows.user[other] == rows.user[row]
            and rows.ts[other] < rows.ts[row]
        ]
        assert found.item[seen].tolist() == rows.item[before].tolist()
        assert found.ts[seen].tolist() == rows.ts[before].tolist()


def test_a_history_holds_nothing_that_no_row_sees():
    rows = Labelled(ints(0, 0, 0), ints(1, 2, 3), ints(10, 20, 20), ints(1, 1, 1))
    found, ends = histories(rows, np.ones(3, dtype=bool), users=2)
    assert found.item.tolist() == [1]
    assert found.offsets.tolist() == [0, 1, 1]
    assert ends.tolist() == [0, 1, 1]


def test_in_a_random_split_only_training_labels_are_known_and_by_time_all_earlier_ones():
    split = ints(TRAIN, VALIDATION, TEST)
    assert known_rows(split, MovieLensConfig()).tolist() == [True, False, False]
    assert known_rows(split, MovieLensConfig(split=TIME)).all()


def test_means_are_of_known_rows_strictly_earlier():
    rows = drawn()
    known = np.random.default_rng(2).random(len(rows)) < 0.7
    means = earlier_means(rows.user, rows.ts, rows.label, known)
    for row in range(len(rows)):
        before = [at for at in range(len(rows)) if known[at] and rows.ts[at] < rows.ts[row]]
        own = [at for at in before if rows.user[at] == rows.user[row]]
        prior = (rows.label[before].sum() + PRIOR_ROWS / 2) / (len(before) + PRIOR_ROWS)
        assert means[row] == pytest.approx((rows.label[own].sum() + PRIOR_ROWS * prior) / (len(own) + PRIOR_ROWS))


def test_a_label_moves_no_mean_of_its_own_row_or_of_an_earlier_one():
    rows = drawn()
    known = np.ones(len(rows), dtype=bool)
    flipped = rows.label.copy()
    flipped[120] = 1 - flipped[120]
    before = earlier_means(rows.item, rows.ts, rows.label, known)
    after = earlier_means(rows.item, rows.ts, flipped, known)
    assert (before == after)[rows.ts <= rows.ts[120]].all()
    assert (before != after)[(rows.ts > rows.ts[120]) & (rows.item == rows.item[120])].all()


def test_leaked_means_hold_the_rows_own_label_and_know_two_sides():
    split = ints(TRAIN, VALIDATION, TEST, TEST)
    assert SPLITS[TEST] == "test"
    assert leaked_means(ints(0, 0, 0, 1), split, ints(1, 0, 1, 0)).tolist() == [0.5, 0.5, 1.0, 0.0]
