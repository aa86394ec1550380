from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc

from etl.contract.manifest import HISTORIES, HISTORIES_FILE, ITEMS_FILE, QUERIES_FILE
from models.arrow_tables import open_table, vectors
from models.dataset import Export
from models.errors import ExportError
from tests.models.export_fixture import World, write_arrow_table, write_export

SMALL = World(requests=(6, 3, 3), items=20, queries=5, users=4)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_export(tmp_path / "data", SMALL)


def test_histories_and_numerics_are_views_of_the_map(directory: Path):
    before = pa.total_allocated_bytes()
    export = Export(directory)
    histories = export.histories
    assert pa.total_allocated_bytes() - before < 65_536
    for array in (histories.offsets, histories.items, histories.actions, histories.ts, export.items.numerics):
        assert not array.flags.owndata
        assert not array.flags.writeable
    table = open_table(directory / HISTORIES_FILE, HISTORIES, SMALL.users)
    assert histories.lengths().tolist() == [len(row["items"]) for row in table.to_pylist()]
    assert histories.items.tolist() == [item for row in table.to_pylist() for item in row["items"]]
    assert (histories.items.dtype, histories.actions.dtype, histories.ts.dtype) == (np.int32, np.int8, np.int64)


def test_dense_vectors_are_copied_only_where_some_are_missing(tmp_path: Path):
    for name, rows in {"full": [[1.0, 2.0], [3.0, 4.0]], "some": [[], [3.0, 4.0]], "none": [[], []]}.items():
        write_arrow_table(tmp_path / name, {"dense": rows}, {"dense": "large_list<float32>"})
        table = open_table(tmp_path / name, {"dense": "large_list<float32>"}, 2)
        found = vectors(name, table, "dense")
        assert found.tolist() == [row or [0.0] * found.shape[1] for row in rows]
        shared = np.shares_memory(found, table.column("dense").values.to_numpy())
        assert shared == (name == "full")


def test_vectors_of_different_lengths_are_an_error(tmp_path: Path):
    write_arrow_table(tmp_path / "a", {"dense": [[1.0], [3.0, 4.0]]}, {"dense": "large_list<float32>"})
    with pytest.raises(ExportError, match="'dense' vectors differ in length"):
        vectors("a", open_table(tmp_path / "a", {"dense": "large_list<float32>"}, 2), "dense")


def test_a_cut_off_or_missing_file_is_named(directory: Path):
    path = directory / HISTORIES_FILE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ExportError, match=r"histories\.arrow cannot be read"):
        _ = Export(directory).histories
    (directory / QUERIES_FILE).unlink()
    with pytest.raises(ExportError, match=r"queries\.arrow cannot be read"):
        _ = Export(directory).queries


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"items": [[1]] * 4, "actions": [[1]] * 4}, "column 'ts' should be large_list<int64>, found none"),
        ({"items": [[1]] * 3, "actions": [[1]] * 3, "ts": [[1]] * 3}, "has 3 rows, its manifest says 4"),
        ({"items": [[1]] * 4, "actions": [[1, 2]] * 4, "ts": [[1]] * 4}, "lists of 'items' and 'actions' differ"),
        ({"items": [[1]] * 4, "actions": [[None]] * 4, "ts": [[1]] * 4}, "'actions' holds nulls"),
    ],
)
def test_histories_that_are_not_as_promised_are_errors(directory: Path, columns: dict, message: str):
    write_arrow_table(directory / HISTORIES_FILE, columns, HISTORIES)
    with pytest.raises(ExportError, match=message):
        _ = Export(directory).histories


def test_a_column_of_another_type_is_named(directory: Path):
    kinds = HISTORIES | {"items": "large_list<int64>"}
    write_arrow_table(directory / HISTORIES_FILE, dict.fromkeys(HISTORIES, [[1]] * 4), kinds)
    with pytest.raises(ExportError, match="'items' should be large_list<int32>, found large_list<int64>"):
        _ = Export(directory).histories


def test_several_batches_are_an_error(directory: Path):
    with ipc.open_file(str(directory / ITEMS_FILE)) as file:
        batch = file.get_batch(0)
    with ipc.new_file(str(directory / ITEMS_FILE), batch.schema) as writer:
        writer.write_batch(batch.slice(0, 10))
        writer.write_batch(batch.slice(10))
    with pytest.raises(ExportError, match="2 record batches, expected 1"):
        _ = Export(directory).items
