import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.arrow_files import arrow_type, open_arrow, write_arrow, write_columns

KINDS = {
    "name": "large_string",
    "kinds": "large_list<large_string>",
    "numbers": "large_list<float64>",
    "items": "large_list<int32>",
    "count": "int64",
}
FIRST = [
    {"name": "ä", "kinds": ["a", ""], "numbers": [1.5], "items": [], "count": 3},
    {"name": "", "kinds": ["long word", "b"], "numbers": [-2.0], "items": [7, 8], "count": -1},
]
LAST = [{"name": "z", "kinds": ["c", "d"], "numbers": [0.0], "items": [9], "count": 2**40}]


@pytest.fixture
def write(tmp_path: Path):
    def write(*parts: list[dict]) -> Path:
        """As Spark writes them: 32-bit offsets, snappy."""
        types = {"name": pa.string(), "kinds": pa.list_(pa.string()), "numbers": pa.list_(pa.float64()),
                 "items": pa.list_(pa.int32()), "count": pa.int64(), "other": pa.int8()}  # fmt: skip
        paths = []
        for number, rows in enumerate(parts):
            paths.append(tmp_path / f"part-{number:05d}.parquet")
            pq.write_table(pa.Table.from_pylist(rows, pa.schema(types)), paths[-1], row_group_size=1)
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        assert write_arrow(paths, KINDS, tmp_path / "out.arrow", scratch) == sum(map(len, parts))
        assert list(scratch.iterdir()) == []
        return tmp_path / "out.arrow"

    return write


def test_parts_become_one_batch_in_their_order(write):
    table = open_arrow(write(FIRST, [], LAST))
    assert table.to_pylist() == FIRST + LAST
    assert {field.name: field.type for field in table.schema} == {k: arrow_type(v) for k, v in KINDS.items()}
    table.validate(full=True)


def test_no_rows_make_an_empty_file(write):
    assert open_arrow(write([])).to_pylist() == []


def test_columns_are_views_of_the_file(write):
    path = write(FIRST, LAST)
    before = pa.total_allocated_bytes()
    items = open_arrow(path).column("items")
    assert not items.values.to_numpy().flags.owndata
    assert not items.offsets.to_numpy().flags.owndata
    assert pa.total_allocated_bytes() - before < 4096


def test_what_is_missing_becomes_empty_or_nan(write):
    [row] = open_arrow(write([{"kinds": [None, "a"], "numbers": [None], "count": 1}])).to_pylist()
    assert math.isnan(row["numbers"][0])
    assert row | {"numbers": []} == {"name": "", "kinds": ["", "a"], "numbers": [], "items": [], "count": 1}


def test_a_missing_whole_number_is_an_error(write):
    with pytest.raises(pa.ArrowInvalid):
        write([{"name": "a", "count": None}])


def test_columns_in_memory_make_the_same_file(write, tmp_path):
    file = write(FIRST, LAST)
    columns = {name: [row[name] for row in [*FIRST, *LAST]] for name in KINDS}
    assert write_columns(columns, KINDS, tmp_path / "columns.arrow") == 3
    assert open_arrow(tmp_path / "columns.arrow").equals(open_arrow(file))
