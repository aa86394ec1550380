import numpy as np
import pyarrow as pa

from etl.kernels.codes import changes, codes_of


def test_codes_follow_the_order_of_utf8_bytes():
    codes, values = codes_of(pa.array(["\u00e9", "z", "a", "\U0001f600", "\uffff", "a"]))
    assert values.to_pylist() == ["a", "z", "\u00e9", "\uffff", "\U0001f600"]
    assert codes.tolist() == [2, 1, 0, 4, 3, 0]


def test_changes_are_where_a_key_begins():
    assert changes(np.array([3, 3, 5, 7, 7])).tolist() == [True, False, True, True, False]
    assert changes(np.array([], dtype=np.int64)).tolist() == []
