import numpy as np
import pyarrow as pa

from etl.kernels.pairs import Pairs
from etl.kernels.support import best_items

#: (query, segment_name, segment_value) of the owners, then (owner, item) of the pairs.
OWNERS = [("other", "all", ""), ("q", "all", ""), ("q", "country", "US")]
PAIRS = [(0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]
ENGAGEMENT = np.array([0.0, 2.0, 2.0, 1.0, 9.0])


def kept(most: int, allowed=(True,) * 5) -> list[int]:
    columns = dict(zip(("query_key", "segment_name", "segment_value"), zip(*OWNERS, strict=True), strict=True))
    owner, item = (np.array(column) for column in zip(*PAIRS, strict=True))
    pairs = Pairs(
        pa.table({name: list(values) for name, values in columns.items()}), owner, item, pa.array(list("abc"))
    )
    return np.flatnonzero(best_items(pairs, ENGAGEMENT, np.array(allowed), most)).tolist()


def test_no_cap_keeps_what_is_allowed():
    assert kept(0) == [0, 1, 2, 3, 4]
    assert kept(0, (False, True, True, True, True)) == [1, 2, 3, 4]


def test_the_best_items_stay_with_all_their_segments_and_ties_go_by_item_id():
    assert kept(1) == [0, 1, 4]
    assert kept(2) == [0, 1, 2, 4]


def test_items_that_are_not_allowed_take_no_place_among_the_best():
    assert kept(1, (True, False, True, True, True)) == [0, 2]


def test_a_segment_below_the_minimum_goes_alone():
    assert kept(1, (True, True, True, True, False)) == [0, 1]
