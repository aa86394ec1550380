"""Which pairs are worth keeping: enough distinct users, and the best items of each query."""

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from etl.contract import columns as c
from etl.kernels.codes import Floats, codes_of
from etl.kernels.pairs import Pairs

Bools = npt.NDArray[np.bool_]


def best_items(pairs: Pairs, engagement: Floats, allowed: Bools, most: int) -> Bools:
    """(P,) the pairs of the ``most`` best items of each query, with all their segments; all allowed ones for 0.

    Best: the highest ``engagement`` under (all, '') among the ``allowed``, ties by item_id.
    """
    if most == 0:
        return allowed
    query = codes_of(pairs.owners["query_key"])[0][pairs.owner]
    everyone = pc.equal(pairs.owners["segment_name"], c.ALL_SEGMENT).to_numpy()[pairs.owner]
    ranked = np.flatnonzero(allowed & everyone)
    order = ranked[np.lexsort((pairs.item[ranked], -engagement[ranked], query[ranked]))]
    place = np.arange(len(order)) - np.searchsorted(query[order], query[order])
    best = order[place < most]
    of_item = query * max(1, len(pairs.items)) + pairs.item
    return allowed & np.isin(of_item, of_item[best])
