"""An export seen with some of its cross features only: rows are chosen from as they are gathered, nothing is copied."""

import re
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from models.dataset import Export, Rows

EVERY = ".*"
#: Says that a pair has interactions before the row: where it is 0, the pair's rates come from its query's words.
HAS_HISTORY = "all__has_history"
_RATE = re.compile(r".*_rate_\d+d")


@dataclass(frozen=True)
class CrossChoice:
    """Which cross features are seen, and whether rates that come from the query's words (token back-off) are."""

    pattern: str = EVERY
    """A regular expression that the whole name matches; an empty one matches none."""
    backoff: bool = True

    def columns(self, names: tuple[str, ...]) -> list[int]:
        """Positions of the chosen ones among ``names``."""
        return [index for index, name in enumerate(names) if re.fullmatch(self.pattern, name)]

    def blanked(self, names: tuple[str, ...]) -> list[int]:
        """Positions among the chosen ones of those that are 0 where the pair has no row."""
        chosen = [names[index] for index in self.columns(names)]
        if self.backoff or HAS_HISTORY not in names:
            return []
        return [place for place, name in enumerate(chosen) if _RATE.fullmatch(name)]


class CrossView(Export):
    """``export``, whose manifest and rows hold the chosen cross features alone, in the export's order.

    Items, queries and histories are the export's own.
    """

    def __init__(self, export: Export, choice: CrossChoice):
        _ = export.items, export.queries, export.histories, export.query_items
        vars(self).update(vars(export))
        self._export, self._choice = export, choice
        self._splits = {}
        names = export.manifest.cross
        self.manifest = replace(export.manifest, cross=tuple(names[index] for index in choice.columns(names)))

    def _load_split(self, name: str) -> Rows:
        rows = self._export.split(name)
        chosen = _ChosenCross(rows.cross, self._export.manifest.cross, self._choice)
        return replace(rows, cross=cast(npt.NDArray[np.float32], chosen))


class _ChosenCross:
    """Stands for an array (n, C'): indexing rows gathers them from the array (n, C) of the export."""

    def __init__(self, cross: npt.NDArray[np.float32], names: tuple[str, ...], choice: CrossChoice):
        self._cross = cross
        self._columns, self._blanked = choice.columns(names), choice.blanked(names)
        self._history = names.index(HAS_HISTORY) if self._blanked else None

    def __len__(self) -> int:
        return len(self._cross)

    def __getitem__(self, rows: Any) -> npt.NDArray[np.float32]:
        """(P, C') of the rows that an index or a slice names."""
        whole = self._cross[rows]
        chosen: npt.NDArray[np.float32] = whole[:, self._columns]
        if self._history is not None:
            chosen[np.ix_(whole[:, self._history] == 0, self._blanked)] = 0.0
        return chosen
