"""The layouts in which MovieLens is handed around, read into one shape.

- ml-100k (GroupLens): ``u.data``, ``u.user``, ``u.item`` with a flag per genre, ``u.genre`` with the genres' names.
- ml-1m (GroupLens): ``ratings.dat``, ``users.dat``, ``movies.dat``, fields between ``::``.
- RecBole's atomic files: ``NAME.inter``, ``NAME.user``, ``NAME.item``, a header of ``name:type`` in each.

GroupLens' files are in Latin-1, RecBole's in UTF-8.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from etl.sources.errors import InputError

_LAYOUTS = "u.data (ml-100k), ratings.dat (ml-1m) or one *.inter (RecBole)"
_RATINGS = ("user", "item", "rating", "ts")
_USER_100K, _USER_1M = ("id", "age", "gender", "occupation", "zip"), ("id", "gender", "age", "occupation", "zip")
_KINDS = {"rating": pa.float64(), "ts": pa.float64()}


@dataclass(frozen=True)
class User:
    gender: str
    age: str
    occupation: str


@dataclass(frozen=True)
class Movie:
    title: str
    genres: tuple[str, ...]
    """In the order of the file."""


@dataclass(frozen=True)
class MovieLens:
    """n ratings in the order of the file, and who and what they are about."""

    user: list[str]
    item: list[str]
    rating: npt.NDArray[np.float64]  # (n,)
    ts: npt.NDArray[np.int64]  # (n,) epoch seconds
    users: dict[str, User]
    movies: dict[str, Movie]
    digest: str
    """SHA-256 of the files."""


def read_movielens(path: Path) -> MovieLens:
    """The ratings in a folder (or beside a RecBole .inter file); its layout is told by the files in it.

    Raises InputError for a layout that is not known, a file that is missing or cannot be parsed, and a rating whose
    user or movie no file describes.
    """
    files, read = _layout(path)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise InputError(str(path), f"{files[0].name} is there, {', '.join(missing)} is not", "unpack all of the data")
    ratings, users, movies = read(files)
    found = MovieLens(
        user=ratings["user"].to_pylist(),
        item=ratings["item"].to_pylist(),
        rating=ratings["rating"].to_numpy(),
        ts=ratings["ts"].to_numpy().astype(np.int64),
        users=users,
        movies=movies,
        digest=_digest(files),
    )
    _require_described(files, found)
    return found


_Read = tuple[pa.Table, dict[str, User], dict[str, Movie]]


def _layout(path: Path) -> tuple[list[Path], Callable[[list[Path]], _Read]]:
    """The files of the layout, ratings first, and what reads them."""
    if path.suffix == ".inter":
        return _atomic(path), _read_recbole
    if (path / "u.data").is_file():
        return [path / name for name in ("u.data", "u.user", "u.item", "u.genre")], _read_100k
    if (path / "ratings.dat").is_file():
        return [path / name for name in ("ratings.dat", "users.dat", "movies.dat")], _read_1m
    inter = sorted(path.glob("*.inter"))
    if len(inter) == 1:
        return _atomic(inter[0]), _read_recbole
    if inter:
        raise InputError(str(path), f"holds {len(inter)} .inter files", f"name one of them: --input {inter[0]}")
    names = sorted(file.name for file in path.iterdir())[:8] if path.is_dir() else []
    problem = f"no ratings among {', '.join(names)}" if names else "no such folder, or nothing in it"
    raise InputError(str(path), problem, f"expected a folder with {_LAYOUTS}")


def _atomic(inter: Path) -> list[Path]:
    return [inter.with_suffix(suffix) for suffix in (".inter", ".user", ".item")]


def _read_100k(files: list[Path]) -> _Read:
    data, user, item, genre = files
    names = [name for name in _table(genre, "|", ("name", "number"))["name"].to_pylist() if name]
    movies = _table(item, "|", ("id", "title", "released", "video", "url", *names))
    flags = zip(*(movies[name].to_pylist() for name in names), strict=True)
    genres = [tuple(name for name, flag in zip(names, row, strict=True) if flag == "1") for row in flags]
    users = _users(_table(user, "|", _USER_100K))
    return _table(data, "\t", _RATINGS), users, _movies(movies["id"], movies["title"], genres)


def _read_1m(files: list[Path]) -> _Read:
    data, user, item = files
    movies = _table(item, "::", ("id", "title", "genres"))
    genres = [tuple(text.split("|")) for text in movies["genres"].to_pylist()]
    users = _users(_table(user, "::", _USER_1M))
    return _table(data, "::", _RATINGS), users, _movies(movies["id"], movies["title"], genres)


def _read_recbole(files: list[Path]) -> _Read:
    inter, user, item = files
    ratings = _headed(inter, {"user": ("user_id",), "item": ("item_id",), "rating": ("rating",), "ts": ("timestamp",)})
    people = {"id": ("user_id",), "age": ("age",), "gender": ("gender",), "occupation": ("occupation",)}
    titles = {"id": ("item_id",), "title": ("movie_title", "title"), "genres": ("class", "genre", "genres")}
    movies = _headed(item, titles)
    genres = [tuple(text.split()) for text in movies["genres"].to_pylist()]
    return ratings, _users(_headed(user, people)), _movies(movies["id"], movies["title"], genres)


def _headed(path: Path, wanted: Mapping[str, tuple[str, ...]]) -> pa.Table:
    """The wanted columns of an atomic file under our names, found by any of theirs."""
    with path.open(encoding="utf-8") as file:
        header = [column.partition(":")[0] for column in file.readline().rstrip("\r\n").split("\t")]
    columns = list(header)
    for ours, theirs in wanted.items():
        place = next((header.index(name) for name in theirs if name in header), None)
        if place is None:
            found = ", ".join(header)
            raise InputError(str(path), f"no column '{theirs[0]}' in its header: {found}", "expected name:type columns")
        columns[place] = ours
    return _table(path, "\t", columns, "utf8", skip=1).select(list(wanted))


def _table(path: Path, between: str, columns: Sequence[str], encoding: str = "latin1", skip: int = 0) -> pa.Table:
    """A file of fields ``between`` two of which stands that text; all are text but ratings and timestamps."""
    content = path.read_bytes()
    if len(between) > 1:
        content = content.replace(between.encode(), b"\x1f")
    try:
        return csv.read_csv(
            pa.BufferReader(content),
            csv.ReadOptions(column_names=list(columns), skip_rows=skip, encoding=encoding),
            csv.ParseOptions(delimiter=between if len(between) == 1 else "\x1f", quote_char=False),
            csv.ConvertOptions(
                column_types={name: _KINDS.get(name, pa.string()) for name in columns}, strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        problem = next(iter(str(error).splitlines()), "not a table")
        expected = f"expected lines of {' '.join(columns[:6])}{' ...' if len(columns) > 6 else ''}"
        raise InputError(str(path), problem, f"{expected}, '{between}' between them".replace("\t", "\\t")) from error


def _users(table: pa.Table) -> dict[str, User]:
    columns = [table[name].to_pylist() for name in ("id", "gender", "age", "occupation")]
    return {key: User(*rest) for key, *rest in zip(*columns, strict=True)}


def _movies(ids: pa.ChunkedArray, titles: pa.ChunkedArray, genres: list[tuple[str, ...]]) -> dict[str, Movie]:
    rows = zip(ids.to_pylist(), titles.to_pylist(), genres, strict=True)
    return {key: Movie(title, tuple(filter(None, of_movie))) for key, title, of_movie in rows}


def _require_described(files: list[Path], found: MovieLens) -> None:
    pairs = ((found.user, found.users, "user", files[1]), (found.item, found.movies, "movie", files[2]))
    for used, known, kind, file in pairs:
        unknown = sorted(set(used) - known.keys())
        if unknown:
            raise InputError(
                str(files[0]),
                f"{len(unknown)} rated {kind}s are not in {file.name}, the first is '{unknown[0]}'",
                "the files belong to different data sets, or one is cut off",
            )


def _digest(files: list[Path]) -> str:
    sums = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return hashlib.sha256("".join(sums).encode()).hexdigest()
