import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.contract.errors import ManifestError
from etl.contract.manifest import FILE, QUERY_ITEMS_FILE, TEST, TRAIN, Shard
from models.dataset import Export
from models.errors import ExportError
from tests.models.export_fixture import World, write_export

SMALL = World(requests=(6, 3, 3), items=20, queries=5, users=4)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_export(tmp_path / "data", SMALL)


def _change(path: Path, name: str, values: list[object]) -> None:
    table = pq.read_table(path)
    field = table.schema.field(name)
    pq.write_table(table.set_column(table.column_names.index(name), field, pa.array(values, field.type)), path)


def _column(path: Path, name: str) -> list[object]:
    return pq.read_table(path)[name].to_pylist()


def test_rows_are_read_as_written(directory: Path):
    rows = Export(directory).split(TRAIN)
    table = pq.read_table(directory / "rows/00000.parquet")
    assert rows.requests == 6
    assert len(rows) == len(table) == 48
    assert rows.cross.tolist() == table["cross"].to_pylist()
    assert rows.labels.tolist() == table["labels"].to_pylist()
    assert rows.query[rows.request_of_row()].tolist() == table["query"].to_pylist()
    assert rows.segments[rows.request_of_row()].tolist() == table["segments"].to_pylist()


def test_a_split_in_several_shards_is_one_split(directory: Path):
    table = pq.read_table(directory / "rows/00000.parquet")
    pq.write_table(table.slice(0, 16), directory / "rows/00000.parquet")
    pq.write_table(table.slice(16), directory / "rows/00009.parquet")
    manifest = Export(directory).manifest
    parts = (Shard("rows/00000.parquet", TRAIN, 16), Shard("rows/00009.parquet", TRAIN, 32), *manifest.shards[1:])
    replace(manifest, shards=parts).write(directory)
    assert Export(directory).split(TRAIN).item.tolist() == table["item"].to_pylist()


def test_an_export_that_knows_nothing_of_queries_has_no_lists(directory: Path):
    for shard in Export(directory).manifest.shards:
        table = pq.read_table(directory / shard.path)
        pq.write_table(table.drop_columns("query_items"), directory / shard.path)
    (directory / QUERY_ITEMS_FILE).unlink()
    replace(Export(directory).manifest, query_items=0).write(directory)
    export = Export(directory)
    lists = export.split(TRAIN).query_items
    assert set(lists.tolist()) == {-1}
    assert (export.query_items.first(lists, 3) == -1).all()


def test_a_list_number_that_points_nowhere_is_an_error(directory: Path):
    path = directory / "rows/00000.parquet"
    _change(path, "query_items", [99] * len(_column(path, "query_items")))
    with pytest.raises(ExportError, match="column 'query_items' spans 99 to 99, expected 0 to 3"):
        Export(directory).split(TRAIN)


def test_a_missing_split_names_those_that_exist(directory: Path):
    manifest = Export(directory).manifest
    replace(manifest, shards=manifest.shards[:2]).write(directory)
    with pytest.raises(ExportError, match=r"no rows in split 'test' \(found: train, validation\)"):
        Export(directory).split(TEST)


def test_an_export_without_rows_is_an_error(directory: Path):
    replace(Export(directory).manifest, shards=()).write(directory)
    with pytest.raises(ExportError, match="no rows at all"):
        Export(directory).split(TRAIN)


def test_a_folder_without_manifest_is_an_error(directory: Path):
    (directory / FILE).unlink()
    with pytest.raises(ManifestError, match="no finished export"):
        Export(directory)


def test_a_nan_cross_feature_is_named(directory: Path):
    path = directory / "rows/00000.parquet"
    cross = _column(path, "cross")
    cross[3][1] = float("nan")
    _change(path, "cross", cross)
    with pytest.raises(ExportError, match="'all__click_rate_30d' is NaN or infinite in 1 rows"):
        Export(directory).split(TRAIN)


@pytest.mark.parametrize(("name", "value"), [("item", 20), ("query", -1), ("user", 4)])
def test_an_index_outside_its_table_is_named(directory: Path, name: str, value: int):
    path = directory / "rows/00000.parquet"
    _change(path, name, [value, *_column(path, name)[1:]])
    with pytest.raises(ExportError, match=f"column '{name}' spans"):
        Export(directory).split(TRAIN)


def test_a_history_end_beyond_the_history_is_an_error(directory: Path):
    path = directory / "rows/00000.parquet"
    _change(path, "history_end", [999] * 48)
    with pytest.raises(ExportError, match="history_end"):
        Export(directory).split(TRAIN)


def test_a_request_torn_apart_is_an_error(directory: Path):
    path = directory / "rows/00000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(np.r_[0, 8:48, 1:8]), path)
    with pytest.raises(ExportError, match="not next to each other"):
        Export(directory).split(TRAIN)


def test_a_request_with_two_queries_is_an_error(directory: Path):
    path = directory / "rows/00000.parquet"
    query = _column(path, "query")
    query[1] = (query[1] + 1) % 5
    _change(path, "query", query)
    with pytest.raises(ExportError, match="'query' differs between rows of one request"):
        Export(directory).split(TRAIN)


def test_a_short_shard_is_an_error(directory: Path):
    path = directory / "rows/00000.parquet"
    pq.write_table(pq.read_table(path).slice(0, 40), path)
    with pytest.raises(ExportError, match="has 40 rows, its manifest says 48"):
        Export(directory).split(TRAIN)


def test_a_missing_shard_and_a_missing_column_are_errors(directory: Path):
    path = directory / "rows/00000.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["labels"]), path)
    with pytest.raises(ExportError, match="lacks the column 'labels'"):
        Export(directory).split(TRAIN)
    path.unlink()
    with pytest.raises(ExportError, match="cannot be read"):
        Export(directory).split(TRAIN)


def test_a_wrong_width_is_an_error(directory: Path):
    plain = json.loads((directory / FILE).read_text())
    plain["cross"].append("one_more")
    (directory / FILE).write_text(json.dumps(plain))
    with pytest.raises(ExportError, match=r"'cross' holds 192 values, expected 48 rows x 5"):
        Export(directory).split(TRAIN)
