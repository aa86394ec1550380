"""From 64-bit hashes to rows: an open-addressing table, looked up in a few vectorised passes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Slots per key, at least: three keys in four are found at the first look.
_SLOTS_PER_KEY = 2


@dataclass(frozen=True)
class HashIndex:
    """``slots`` (2^b,) hold rows, N where empty; ``keys`` (N + 1,) are the hashes by row, and one for N."""

    slots: npt.NDArray[np.int32]
    keys: npt.NDArray[np.int64]

    @classmethod
    def build(cls, hashes: npt.NDArray[np.int64]) -> "HashIndex":
        """Of N distinct hashes, row by row."""
        count = len(hashes)
        size = 1 << max(4, (count * _SLOTS_PER_KEY).bit_length())
        slots = np.full(size, count, dtype=np.int32)
        rows, places = np.arange(count, dtype=np.int32), _home(hashes, size)
        while len(rows):
            free = slots[places] == count
            # Of several rows that want one slot, the last that is written stays; the others look further.
            slots[places[free]] = rows[free]
            left = slots[places] != rows
            rows, places = rows[left], (places[left] + 1) & (size - 1)
        return cls(slots, np.append(hashes, 0))

    def rows_of(self, hashes: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Rows (n,) of hashes (n,), -1 for those that are not in the table."""
        empty, size = len(self.keys) - 1, len(self.slots)
        places = _home(hashes, size)
        rows = self.slots.take(places)
        open_at = np.flatnonzero((self.keys.take(rows) != hashes) & (rows != empty))
        while len(open_at):
            places[open_at] = (places[open_at] + 1) & (size - 1)
            found = self.slots[places[open_at]]
            rows[open_at] = found
            open_at = open_at[(self.keys[found] != hashes[open_at]) & (found != empty)]
        rows[rows == empty] = -1
        return rows


def _home(hashes: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    return hashes & np.int64(size - 1)
