"""Each promise of an export, broken in a copy of its files."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.arrow_files import open_arrow
from etl.contract.manifest import HISTORIES, HISTORIES_FILE, QUERY_ITEMS, QUERY_ITEMS_FILE, SPLITS, read_manifest
from etl.errors import GateError
from etl.quality.export import _repeated, check_export, export_profile
from tests.models.export_fixture import write_arrow_table

pytestmark = pytest.mark.spark
EVERY_SPLIT = {f"day of {split}": split for split in SPLITS}


@pytest.fixture
def copy(built, tmp_path):
    shutil.copytree(built.export, tmp_path / "out")
    return tmp_path / "out"


def damaged(directory, change):
    """The profile after ``change`` of the first shard's rows, as the sum of each figure over the splits."""
    manifest = read_manifest(directory)
    path = directory / manifest.shards[0].path
    table = pq.read_table(path, partitioning=None)
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema), path)
    return totals(export_profile(directory, manifest, SPLITS, manifest.rows))


def totals(rows):
    sums: dict[str, float] = {}
    for row in rows:
        for name, value in row.items():
            if name not in ("ds", "rows") and value:
                sums[name] = sums.get(name, 0) + value
    return sums


def first(rows, **values):
    return [rows[0] | values, *rows[1:]]


def test_a_whole_export_keeps_every_promise(built):
    manifest = read_manifest(built.export)
    rows = export_profile(built.export, manifest, SPLITS, manifest.rows)
    assert totals(rows) == {}
    assert {row["ds"]: row["rows"] for row in rows} == {
        "all splits": manifest.rows,
        **{split: sum(shard.rows for shard in manifest.shards if shard.split == split)
           for split in ("train", "validation", "test")},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("figure", "change"),
    [
        ("repeated_rows", lambda rows: [*rows, rows[0]]),
        ("bad_labels", lambda rows: first(rows, labels=[2, 0])),
        ("bad_cross", lambda rows: first(rows, cross=[float("nan"), *rows[0]["cross"][1:]])),
        ("bad_cross", lambda rows: first(rows, cross=[None, *rows[0]["cross"][1:]])),
        ("bad_cross", lambda rows: first(rows, cross=rows[0]["cross"][1:])),
        ("future_history", lambda rows: first(rows, history_end=10_000)),
        ("future_history", lambda rows: [row | {"ts": 0} for row in rows]),
    ],
)
def test_a_row_that_breaks_a_promise_shows_in_its_figure(copy, figure, change):
    found = damaged(copy, change)
    assert set(found) == {figure} or figure == "repeated_rows"
    assert found[figure] >= 1


def test_a_row_counts_as_repeated_once_for_each_time_that_it_comes_again():
    request, item = np.array([5, -3, 5, 5, -3, 7, 5]), np.array([1, 1, 2, 1, 1, 1, 1], dtype=np.int32)
    assert _repeated(request, item) == 3
    assert _repeated(request[:0], item[:0]) == 0


@pytest.mark.parametrize(("name", "stranger"), [("items", 10_000), ("items", -1), ("actions", 100)])
def test_a_history_entry_that_points_nowhere_is_counted(copy, name, stranger):
    manifest = read_manifest(copy)
    histories = open_arrow(copy / HISTORIES_FILE).to_pylist()
    max(histories, key=lambda user: len(user["ts"]))[name][0] = stranger
    (copy / HISTORIES_FILE).unlink()
    columns = {column: [user[column] for user in histories] for column in HISTORIES}
    write_arrow_table(copy / HISTORIES_FILE, columns, HISTORIES)
    assert totals(export_profile(copy, manifest, SPLITS, manifest.rows)) == {"bad_histories": 1}


def test_a_best_item_that_points_nowhere_is_counted(copy):
    manifest = read_manifest(copy)
    lists = [row["items"] for row in open_arrow(copy / QUERY_ITEMS_FILE).to_pylist()]
    (copy / QUERY_ITEMS_FILE).unlink()
    write_arrow_table(copy / QUERY_ITEMS_FILE, {"items": [[manifest.items, *lists[0]], *lists[1:]]}, QUERY_ITEMS)
    assert totals(export_profile(copy, manifest, SPLITS, manifest.rows)) == {"bad_histories": 1}


def test_rows_that_a_join_lost_stop_the_export(built, tmp_path):
    import dataclasses

    config = dataclasses.replace(built.config, lake=dataclasses.replace(built.config.lake, root=str(tmp_path)))
    manifest = read_manifest(built.export)
    with pytest.raises(GateError, match=r"lost or doubled by a join \(all splits: 1\)"):
        check_export(built.export, manifest, EVERY_SPLIT, manifest.rows + 1, config)
