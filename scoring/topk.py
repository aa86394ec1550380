"""The best k of a request: by score, ties by item_id."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def top_k(scores: npt.NDArray[np.float32], ids: Sequence[str], k: int) -> list[int]:
    """Positions of the best ``k`` of n scored items (n,), best first; equal scores in the order of their ids."""
    if len(scores) > k:
        # Everything that ties with the k-th stays in until the ids have decided.
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        kept = np.flatnonzero(scores >= threshold)
    else:
        kept = np.arange(len(scores))
    order = sorted(kept.tolist(), key=lambda position: (-float(scores[position]), ids[position]))
    return order[:k]
