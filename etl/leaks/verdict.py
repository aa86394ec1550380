"""What a trial's two exports say: which features moved before the cut, which after it, and what each ranks alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from etl.kernels.codes import Ints
from etl.leaks.auc import auc
from etl.leaks.compare import Flags, Moved, differing, listed, matched
from etl.leaks.errors import LeakError
from etl.leaks.opened import Opened

_SHOWN = 20
# No honest single feature ranks this well: it holds the label.
_TOO_GOOD = 0.95
# From here on, a careless join shows in the figures.
_BIG_JUMP = 0.1


@dataclass(frozen=True)
class Marks:
    """Per request of the true events: may its features not move, and does none of its events change?"""

    request: Ints
    before: Flags
    whole: Flags


@dataclass(frozen=True)
class Verdict:
    """``moved`` are the first rows before the cut whose features moved; ``control`` is about rows after it."""

    rows_compared: int
    features_compared: int
    moved_rows: int
    moved_features: dict[str, int]
    """Rows before the cut that moved, by feature."""
    moved: list[Moved]
    missing_rows: int
    """Rows of requests that are wholly before the cut, and stand in one export only."""
    control_rows: int
    control_moved_rows: int
    control_features: dict[str, int]
    """Rows after the cut that moved, by feature: 0 is a feature that this trial could not have caught."""

    def require_no_leak(self) -> None:
        """Raise LeakError if something moved, or if nothing could have."""
        failures = [str(one) for one in self.moved]
        if self.moved_rows:
            by_feature = ", ".join(f"{name} ({rows} rows)" for name, rows in self.moved_features.items() if rows)
            failures.insert(0, f"{self.moved_rows} of {self.rows_compared} rows before the cut moved: {by_feature}")
        if self.missing_rows:
            failures.append(f"{self.missing_rows} rows before the cut stand in one of the two exports only")
        if not self.rows_compared:
            failures.append("no row before the cut to compare: choose a later --cut, or raise --sample-requests")
        elif not self.control_moved_rows:
            failures.append("nothing after the cut moved, so this proves nothing: choose an earlier --cut")
        if failures:
            raise LeakError(failures)

    def plain(self) -> dict[str, Any]:
        unmoved = [name for name, rows in self.control_features.items() if not rows]
        control = {
            "rows": self.control_rows,
            "moved_rows": self.control_moved_rows,
            "moved_features": len(self.control_features) - len(unmoved),
            "unmoved_features": unmoved,
        }
        counts = {"rows_compared": self.rows_compared, "features_compared": self.features_compared}
        return {**counts, "moved": [vars(one) for one in self.moved], "control": control}


def judged(true: Opened, other: Opened, marks: Marks) -> Verdict:
    """Compare the exports of the true events and of those with another future."""
    rows = matched(true, other)
    before = _flagged(true.request[rows[0]], marks.request[marks.before])
    flags = differing(true, other, rows)
    moved = {name: flag & before for name, flag in flags.items()}
    control = {name: flag & ~before for name, flag in flags.items()}
    whole = marks.request[marks.before & marks.whole]
    lonely = sum(int(np.count_nonzero(_flagged(each.request, whole))) for each in (true, other))
    lonely -= 2 * int(np.count_nonzero(_flagged(true.request[rows[0]], whole)))
    return Verdict(
        rows_compared=int(np.count_nonzero(before)),
        features_compared=len(flags),
        moved_rows=_any(moved),
        moved_features={name: int(flag.sum()) for name, flag in moved.items()},
        moved=listed(true, other, rows, moved, _SHOWN),
        missing_rows=lonely,
        control_rows=int(np.count_nonzero(~before)),
        control_moved_rows=_any(control),
        control_features={name: int(flag.sum()) for name, flag in control.items()},
    )


def alone(rows: Opened, request: Ints, item_id: npt.NDArray[np.object_], naive: npt.NDArray[Any]) -> dict[str, Any]:
    """``auc`` of each cross feature alone, as exported and as joined carelessly, and the ``suspicious`` ones.

    ``request``, ``item_id`` and ``naive``, (N, C), are the careless join's rows in any order.
    """
    places = pd.DataFrame({"request": request, "item_id": item_id, "place": np.arange(len(request))})
    wanted = pd.DataFrame({"request": rows.request, "item_id": rows.item_id, "row": np.arange(len(rows))})
    both = wanted.merge(places, on=["request", "item_id"], validate="one_to_one")
    row, place = both["row"].to_numpy(np.int64), both["place"].to_numpy(np.int64)
    positive = rows.label[row] > 0
    figures = {}
    for column, name in enumerate(rows.cross):
        as_of, careless = auc(rows.features[name][row], positive), auc(naive[place, column], positive)
        figures[name] = {"as_of": as_of, "naive": careless, "jump": careless - as_of}
    return {"auc": figures, "suspicious": _suspicious(figures)}


def _suspicious(figures: dict[str, dict[str, float]]) -> list[str]:
    """Features that rank too well, or as well as a careless join's although that join helps others by far."""
    jump = max((one["jump"] for one in figures.values()), default=0.0)
    best = max((one["naive"] for one in figures.values()), default=0.0)

    def suspect(one: dict[str, float]) -> bool:
        flattering = jump >= _BIG_JUMP and one["naive"] - 0.5 >= (best - 0.5) / 2
        return one["as_of"] >= _TOO_GOOD or (flattering and one["jump"] <= jump / 10)

    return [name for name, one in figures.items() if suspect(one)]


def _flagged(request: Ints, among: Ints) -> Flags:
    return np.isin(request, among)


def _any(flags: dict[str, Flags]) -> int:
    """Rows with at least one flag."""
    return int(np.count_nonzero(np.any(list(flags.values()), axis=0))) if flags else 0
