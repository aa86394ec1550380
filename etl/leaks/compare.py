"""Two exports of the same rows, feature by feature."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from etl.kernels.codes import Ints
from etl.leaks.opened import HISTORY, Entry, Opened

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Moved:
    """A feature of a row that has another value in the other export."""

    feature: str
    request: int
    item_id: str
    before: str
    after: str

    def __str__(self) -> str:
        where = f"request hash {self.request}, item {self.item_id}"
        return f"{self.feature} moved: {self.before} became {self.after} ({where})"


def matched(one: Opened, other: Opened) -> tuple[Ints, Ints]:
    """The row numbers in either export of the (request, item) that both hold."""
    keys = [
        pd.DataFrame({"request": each.request, "item_id": each.item_id, "row": np.arange(len(each))})
        for each in (one, other)
    ]
    both = keys[0].merge(keys[1], on=["request", "item_id"], suffixes=("_one", "_other"), validate="one_to_one")
    return both["row_one"].to_numpy(np.int64), both["row_other"].to_numpy(np.int64)


def differing(one: Opened, other: Opened, rows: tuple[Ints, Ints]) -> dict[str, Flags]:
    """Per feature of either export, which of the matched ``rows`` have another value; to the last bit, NaN is NaN."""
    names = dict.fromkeys([*one.features, *other.features])
    return {name: _differs(one.features.get(name), other.features.get(name), rows) for name in names}


def _differs(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None, rows: tuple[Ints, Ints]) -> Flags:
    if one is None or other is None:
        return np.ones(len(rows[0]), dtype=bool)
    a, b = one[rows[0]], other[rows[1]]
    same = np.asarray(a == b, dtype=bool)
    if a.dtype.kind == "f":
        same |= np.isnan(a) & np.isnan(b)
    return ~same


def listed(one: Opened, other: Opened, rows: tuple[Ints, Ints], flags: Mapping[str, Flags], most: int) -> list[Moved]:
    """The first ``most`` of what moved: one row of every feature before a second of any."""
    places = {name: np.flatnonzero(flag) for name, flag in flags.items() if flag.any()}
    turns = max((len(found) for found in places.values()), default=0)
    order = ((name, found[turn]) for turn in range(turns) for name, found in places.items() if turn < len(found))
    return [_moved(one, other, name, rows[0][place], rows[1][place]) for name, place in islice(order, most)]


def _moved(one: Opened, other: Opened, name: str, row: int, other_row: int) -> Moved:
    if name == HISTORY:
        before, after = _first_difference(one.history(row), other.history(other_row))
    else:
        before, after = (
            str(each.features[name][at]) if name in each.features else "no such feature"
            for each, at in ((one, row), (other, other_row))
        )
    return Moved(name, int(one.request[row]), str(one.item_id[row]), before, after)


def _first_difference(one: list[Entry], other: list[Entry]) -> tuple[str, str]:
    # As text, in which NaN is NaN.
    same = takewhile(lambda pair: repr(pair[0]) == repr(pair[1]), zip(one, other, strict=False))
    place = sum(1 for _ in same)
    return _entry(one, place), _entry(other, place)


def _entry(history: list[Entry], place: int) -> str:
    if place == len(history):
        return f"{place} actions"
    return f"action {place + 1} of {len(history)}: {history[place]}"
