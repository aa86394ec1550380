"""Lists that many requests share, stored once: what users did, and the best items of queries."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.features import HistoryRows

DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Histories:
    """Ragged lists of U users in time order: user u owns entries offsets[u] .. offsets[u+1]-1."""

    offsets: npt.NDArray[np.int64]  # (U+1,)
    items: npt.NDArray[np.int32]  # (entries,) rows of an item table
    actions: npt.NDArray[np.int8]  # (entries,)
    ts: npt.NDArray[np.int64]  # (entries,) epoch seconds
    days: int | None = None
    """How many days before its own a row sees, None for all."""

    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.offsets)

    def last(
        self,
        user: npt.NDArray[np.int32],
        end: npt.NDArray[np.int32],
        ts: npt.NDArray[np.int64],
        length: int,
    ) -> HistoryRows:
        """The last ``length`` of the first ``end`` entries of each user (R,), latest first, aged at ``ts`` (R,);
        without those that are too old for the day of ``ts``."""
        back = np.arange(length)
        valid = back[None, :] < end[:, None]  # (R, L)
        at = np.where(valid, self.offsets[user][:, None] + end[:, None] - 1 - back[None, :], 0)
        if not len(self.items):
            empty = np.zeros(valid.shape, dtype=np.int32)
            return HistoryRows(empty, empty.astype(np.int8), empty.astype(np.int64), valid)
        age = ts[:, None] - self.ts.take(at)
        if self.days is not None:
            valid &= age <= (ts % DAY_SECONDS + self.days * DAY_SECONDS)[:, None]
        return HistoryRows(
            items=np.where(valid, self.items.take(at), np.int32(0)),
            actions=np.where(valid, self.actions.take(at), np.int8(0)),
            age_seconds=np.where(valid, age, 0),
            valid=valid,
        )


@dataclass(frozen=True)
class QueryItems:
    """Ragged lists of item rows, best first: list n owns entries offsets[n] .. offsets[n+1]-1."""

    offsets: npt.NDArray[np.int64]  # (lists + 1,)
    items: npt.NDArray[np.int32]  # (entries,)

    def first(self, lists: npt.NDArray[np.int32], length: int) -> npt.NDArray[np.int32]:
        """The first ``length`` item rows (R, length) of lists (R,), -1 where there are no more or the list is -1."""
        if not len(self.items):
            return np.full((len(lists), length), -1, dtype=np.int32)
        known = np.maximum(lists, 0)
        sizes = np.where(lists >= 0, self.offsets[known + 1] - self.offsets[known], 0)
        place = np.arange(length)
        valid = place[None, :] < sizes[:, None]
        at = np.where(valid, self.offsets[known][:, None] + place[None, :], 0)
        return np.where(valid, self.items[at], -1).astype(np.int32)
