"""Which ratings become rows, with which label, in which split, and what a row may know. Arrays in, arrays out.

``clean``. A rating of 3 is dropped, the label is rating > 3. Test is a fifth of the rows, validation an eighth of the
rest, at random or the latest. History and means of labels come from rows strictly earlier than the row; in a random
split from training rows only, since there labels of the other splits lie in the past of training rows. A mean that
leaves only its own row out, as is usual, would tell the label: of a user's rows it is smaller where the label is 1.

``published_with_leak``. What the training scripts of IntTower and HIT do, to line up with their tables, never to be set
beside anything clean. Test is a random fifth. The two means are of the labels of the row's own side of that split, its
own label among them; validation is the fifth of the training side with the highest movie numbers, whose embeddings
training never sees; users without a positive on a side are dropped from it. HIT's scripts also show a user's positives
of that side as history, the current one among them, IntTower's none; no row of an export may see itself: none here.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etl.contract.errors import UsageError
from etl.contract.manifest import SPLITS
from etl.movielens.config import PUBLISHED_WITH_LEAK, TIME, MovieLensConfig

#: Rows of another mean by which a mean of few labels is pulled towards it.
PRIOR_ROWS = 5.0
_TRAIN, _VALIDATION, _TEST = range(len(SPLITS))
_TEST_SHARE, _VALIDATION_SHARE, _PUBLISHED_VALIDATION_SHARE = 0.2, 0.125, 0.2

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Labelled:
    """n rows in time order."""

    user: Ints  # (n,) row of the users
    item: Ints  # (n,) row of the items
    ts: Ints  # (n,) epoch seconds
    label: Ints  # (n,) 0 or 1

    def __len__(self) -> int:
        return len(self.ts)

    def only(self, chosen: Bools) -> "Labelled":
        return Labelled(self.user[chosen], self.item[chosen], self.ts[chosen], self.label[chosen])


@dataclass(frozen=True)
class Histories:
    """Entries of all users, one user after the other, in time order."""

    offsets: Ints  # (U + 1,)
    item: Ints
    ts: Ints


def labelled(user: Ints, item: Ints, rating: Floats, ts: Ints) -> Labelled:
    """Ratings other than 3, in time order; those of one second stay in the order given."""
    order = np.argsort(ts, kind="stable")
    order = order[rating[order] != 3]
    return Labelled(user[order], item[order], ts[order], (rating[order] > 3).astype(np.int64))


def split_of_rows(rows: Labelled, config: MovieLensConfig) -> tuple[Labelled, Ints]:
    """The protocol's rows and the split (n,) of each, as an index into SPLITS; UsageError if a split stays empty.

    Items are numbered in the order of their ids, which is what the published scripts sort by.
    """
    split = _time_split(rows.ts) if config.split == TIME else _random_split(len(rows), config.seed)
    if config.protocol == PUBLISHED_WITH_LEAK:
        split = _last_movies(split, rows.item)
        kept = _with_a_positive(rows, split)
        rows, split = rows.only(kept), split[kept]
    for number, name in enumerate(SPLITS):
        if not (split == number).any():
            raise UsageError(f"of {len(rows)} ratings other than 3 none is left for split '{name}': give more ratings")
    return rows, split


def known_rows(split: Ints, config: MovieLensConfig) -> Bools:
    """(n,) rows whose labels later rows may know, in the clean protocol."""
    return np.ones(len(split), dtype=bool) if config.split == TIME else split == _TRAIN


def histories(rows: Labelled, known: Bools, users: int) -> tuple[Histories, Ints]:
    """The known positives of every user, and how many of them (n,) lie strictly before each row.

    What lies before no row is left out.
    """
    chosen = np.flatnonzero(known & (rows.label == 1))
    chosen = chosen[np.argsort(rows.user[chosen], kind="stable")]
    user, ts = rows.user[chosen], rows.ts[chosen]
    offsets = np.searchsorted(user, np.arange(users + 1))
    # Rank of a second among all seconds: with it, user and time fit into one sortable number.
    seconds = np.unique(rows.ts)
    keys = user * len(seconds) + np.searchsorted(seconds, ts)
    ends = np.searchsorted(keys, rows.user * len(seconds) + np.searchsorted(seconds, rows.ts)) - offsets[rows.user]
    longest = np.zeros(users, dtype=np.int64)
    np.maximum.at(longest, rows.user, ends)
    seen = np.arange(len(chosen)) - offsets[user] < longest[user]
    lengths = np.bincount(user[seen], minlength=users)
    return Histories(np.concatenate([[0], np.cumsum(lengths)]), rows.item[chosen[seen]], ts[seen]), ends


def earlier_means(group: Ints, ts: Ints, label: Ints, known: Bools) -> Floats:
    """(n,) the mean label of the known rows of a row's group that are strictly earlier than the row.

    Pulled by PRIOR_ROWS rows towards the mean over all groups, and that, by as many, towards one half.
    """
    overall, rows = _earlier_sums(np.zeros(len(group), dtype=np.int64), ts, label, known)
    prior = (overall + PRIOR_ROWS / 2) / (rows + PRIOR_ROWS)
    positives, rows = _earlier_sums(group, ts, label, known)
    return (positives + PRIOR_ROWS * prior) / (rows + PRIOR_ROWS)


def on_test_side(split: Ints) -> Bools:
    """(n,) the side of a row: the scripts split off the test rows, prepare both parts, and then cut validation."""
    return split == _TEST


def leaked_means(group: Ints, split: Ints, label: Ints) -> Floats:
    """(n,) the mean label of all rows of a row's group on its side of the split, the row itself among them."""
    cell = _sides(group, split)
    return (np.bincount(cell, weights=label) / np.maximum(np.bincount(cell), 1))[cell]


def _earlier_sums(group: Ints, ts: Ints, label: Ints, known: Bools) -> tuple[Floats, Floats]:
    """(n,) positives and rows among the known rows of the group that are strictly earlier."""
    order = np.lexsort((ts, group))
    group, ts = group[order], ts[order]
    begins = np.concatenate([[True], group[1:] != group[:-1]])
    run = begins | np.concatenate([[True], ts[1:] != ts[:-1]])
    first_of_group = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
    first_of_run = np.maximum.accumulate(np.where(run, np.arange(len(order)), 0))
    sums = []
    for values in (label * known, known):
        before = np.concatenate([[0.0], np.cumsum(values[order], dtype=np.float64)])
        out = np.empty(len(order))
        out[order] = before[first_of_run] - before[first_of_group]
        sums.append(out)
    return sums[0], sums[1]


def _random_split(rows: int, seed: int) -> Ints:
    order = np.random.Generator(np.random.Philox(key=[seed, 1])).permutation(rows)
    split = np.full(rows, _TRAIN)
    test = round(rows * _TEST_SHARE)
    split[order[:test]] = _TEST
    split[order[test : test + round((rows - test) * _VALIDATION_SHARE)]] = _VALIDATION
    return split


def _time_split(ts: Ints) -> Ints:
    """Of times in order; rows of one second stay together, in the later split."""
    split = np.full(len(ts), _TRAIN)
    if len(ts):
        test = ts[int(len(ts) * (1 - _TEST_SHARE))]
        validation = ts[int(len(ts) * (1 - _TEST_SHARE) * (1 - _VALIDATION_SHARE))]
        split[ts >= validation] = _VALIDATION
        split[ts >= test] = _TEST
    return split


def _last_movies(split: Ints, movie: Ints) -> Ints:
    """The scripts' train_test_split is random; Keras-like validation_split then takes the tail, sorted by movie."""
    train = np.flatnonzero(split != _TEST)
    train = train[np.argsort(movie[train], kind="stable")]
    split = np.where(split == _TEST, _TEST, _TRAIN)
    split[train[len(train) - round(len(train) * _PUBLISHED_VALIDATION_SHARE) :]] = _VALIDATION
    return split


def _with_a_positive(rows: Labelled, split: Ints) -> Bools:
    """Rows of users who have a positive on the same side of the split."""
    cell = _sides(rows.user, split)
    found: Bools = (np.bincount(cell, weights=rows.label) > 0)[cell]
    return found


def _sides(group: Ints, split: Ints) -> Ints:
    """(n,) a number per group and side."""
    return group * 2 + on_test_side(split)
