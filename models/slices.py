"""Kinds of requests that are reported beside the overall numbers."""

import numpy as np
import numpy.typing as npt

from etl.contract.manifest import TRAIN
from models.dataset import Export, Rows

HAS_HISTORY = "has_history"


def request_slices(export: Export, rows: Rows) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks (R,) by slice name.

    - head, torso, tail: by the query's training rows. The most frequent queries that together hold a third of the
      training rows are head, those of the next third torso, the rest (also queries never trained on) tail.
    - with_history, without_history: did any engaged pair of the request (first head) have interactions before? Only
      where the export has a cross feature that says so; requests without an engaged pair are in neither.
    """
    slices: dict[str, npt.NDArray[np.bool_]] = {}
    if export.has_split(TRAIN):
        tier = query_tiers(export.query_counts(TRAIN))[rows.query]
        slices = {name: tier == index for index, name in enumerate(("head", "torso", "tail"))}
    seen = has_history(export, rows)
    if seen is not None:
        positive = rows.labels[:, 0] > 0
        known = np.logical_or.reduceat(positive & seen, rows.starts[:-1])
        engaged = np.logical_or.reduceat(positive, rows.starts[:-1])
        slices |= {"with_history": known, "without_history": engaged & ~known}
    return slices


def query_tiers(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0 head, 1 torso, 2 tail for each query, from its number of training rows."""
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    total = max(int(counts.sum()), 1)
    tiers = np.empty(len(counts), dtype=np.int64)
    tiers[order] = np.minimum(before * 3 // total, 2)
    tiers[counts == 0] = 2
    return tiers


def has_history(export: Export, rows: Rows) -> npt.NDArray[np.bool_] | None:
    """Per row: does any segment know the pair? None where the export does not tell."""
    columns = [index for index, name in enumerate(export.manifest.cross) if name.endswith(HAS_HISTORY)]
    if not columns:
        return None
    seen: npt.NDArray[np.bool_] = np.any(rows.cross[:, columns] > 0, axis=1)
    return seen
