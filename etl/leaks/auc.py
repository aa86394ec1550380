"""How well one number alone ranks engaged rows above the others."""

from typing import Any

import numpy as np
import numpy.typing as npt


def auc(score: npt.NDArray[Any], positive: npt.NDArray[np.bool_]) -> float:
    """The chance that a positive row has a higher score than a negative one, ties counting half; NaN without both."""
    _, code, rows = np.unique(score, return_inverse=True, return_counts=True)
    positives = int(np.count_nonzero(positive))
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    # The mean of the ranks (from 1) that rows of one value share.
    rank = np.cumsum(rows) - (rows - 1) / 2
    return float((rank[code[positive]].sum() - positives * (positives + 1) / 2) / (positives * negatives))
