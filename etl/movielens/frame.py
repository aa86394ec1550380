"""MovieLens under a protocol, in the terms of an export: rows, and the tables that they point into.

A request is one rating and its query is the user: the id as key, without words (an empty text would be read from the
key). Segments are gender, age in ml-1m's classes, and occupation. An item has its id, its first genres as categories
and, on request, its title as text. A user's likes are the history.

Means of labels come to where a model can see what the protocol shows it. Clean ones belong to a pair at a time: cross
features. Those of the published leak are for every model, as in the scripts: the user's is a segment in hundredths, the
movie's a numeric of an item version per side of the split.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from etl.movielens.config import PUBLISHED_WITH_LEAK, MovieLensConfig
from etl.movielens.protocol import (
    Floats,
    Histories,
    Ints,
    Labelled,
    earlier_means,
    histories,
    known_rows,
    labelled,
    leaked_means,
    on_test_side,
    split_of_rows,
)
from etl.movielens.reading import MovieLens, User

#: 19 in 20 movies of ml-100k have no more genres than this.
GENRES = 3
#: Ages of ml-1m: the first year of each class.
_AGE_CLASSES = (1, 18, 25, 35, 45, 50, 56)
_USER_MEAN, _ITEM_MEAN = "user_mean_rating", "item_mean_rating"


@dataclass(frozen=True)
class ItemTable:
    """N item versions."""

    ids: list[str]
    text: list[str]
    genres: list[list[str]]  # N lists of GENRES, '' where a movie has fewer
    numerics: dict[str, Floats]  # (N,) each


@dataclass(frozen=True)
class Frame:
    """n rows in time order, and what they point into."""

    rows: Labelled
    split: Ints  # (n,) index into SPLITS
    item: Ints  # (n,) row of ``items``
    segments: dict[str, list[str]]  # n values each, '' not known
    cross: dict[str, Floats]  # (n,) each
    histories: Histories  # of items in ``items``
    history_end: Ints  # (n,)
    items: ItemTable
    users: list[str]


def frame_of(data: MovieLens, config: MovieLensConfig) -> Frame:
    """UsageError if a split would stay empty."""
    users, user = _numbered(data.user)
    movies, movie = _numbered(data.item)
    rows = labelled(user, movie, data.rating, data.ts)
    rows, split = split_of_rows(rows, config)
    segments = _segments([data.users[users[at]] for at in rows.user])
    items = ItemTable(
        ids=movies,
        text=[data.movies[name].title if config.titles else "" for name in movies],
        genres=[[*data.movies[name].genres, *[""] * GENRES][:GENRES] for name in movies],
        numerics={},
    )
    if config.protocol == PUBLISHED_WITH_LEAK:
        return _with_leak(rows, split, segments, items, users)
    known = known_rows(split, config)
    cross: dict[str, Floats] = {}
    if config.means:
        groups = {_USER_MEAN: rows.user, _ITEM_MEAN: rows.item}
        cross = {name: earlier_means(group, rows.ts, rows.label, known) for name, group in groups.items()}
    seen, ends = histories(rows, known, len(users))
    return Frame(rows, split, rows.item, segments, cross, seen, ends, items, users)


def _with_leak(
    rows: Labelled, split: Ints, segments: dict[str, list[str]], items: ItemTable, users: list[str]
) -> Frame:
    """The frame of the published scripts: two versions of every item, the second for test rows."""
    count, test = len(items.ids), on_test_side(split)
    mean = np.full(2 * count, np.nan)
    item = rows.item + count * test
    mean[item] = leaked_means(rows.item, split, rows.label)
    of_user = leaked_means(rows.user, split, rows.label)
    nothing = np.zeros(0, dtype=np.int64)
    return Frame(
        rows=rows,
        split=split,
        item=item,
        segments=segments | {_USER_MEAN: [f"{value:.2f}" for value in of_user]},
        cross={},
        histories=Histories(np.zeros(len(users) + 1, dtype=np.int64), nothing, nothing),
        history_end=np.zeros(len(rows), dtype=np.int64),
        items=ItemTable(items.ids * 2, items.text * 2, items.genres * 2, {_ITEM_MEAN: mean}),
        users=users,
    )


def _numbered(names: list[str]) -> tuple[list[str], Ints]:
    """The distinct names, numbers in the order of their size, and which of them (n,) each is."""
    distinct = sorted(set(names), key=lambda name: (not name.isdecimal(), len(name) if name.isdecimal() else 0, name))
    place = {name: at for at, name in enumerate(distinct)}
    return distinct, np.fromiter((place[name] for name in names), dtype=np.int64, count=len(names))


def _segments(users: Iterable[User]) -> dict[str, list[str]]:
    """n values each of n rows' users."""
    known = [(user.gender, _age_class(user.age), user.occupation) for user in users]
    return {name: [row[at] for row in known] for at, name in enumerate(("gender", "age", "occupation"))}


def _age_class(age: str) -> str:
    """The first year of an age's class; '' for what is no age."""
    years = int(age) if age.isdecimal() else 0
    return max((str(first) for first in _AGE_CLASSES if first <= years), key=int, default="")


def vocabulary(values: Iterable[str]) -> tuple[str, ...]:
    """The distinct values in order, after '' for what is not known."""
    return ("", *sorted(set(values) - {""}))


def indices(values: list[str], words: tuple[str, ...]) -> npt.NDArray[np.int32]:
    """(n,) where in ``words`` each value stands."""
    place = {word: at for at, word in enumerate(words)}
    return np.array([place[value] for value in values], dtype=np.int32)
