import json
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from etl.contract.manifest import TRAIN
from models import split_arrays, split_decoder
from models.dataset import Export, Rows
from models.errors import ExportError
from tests.models.export_fixture import World, write_export

SMALL = World(requests=(6, 3, 3), items=20, queries=5, users=4)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_export(tmp_path / "data", SMALL)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits that were decoded, in order."""
    splits: list[str] = []

    def decode(directory, manifest, split, lengths, out):
        splits.append(split)
        split_decoder.decode_split(directory, manifest, split, lengths, out)

    monkeypatch.setattr(split_arrays, "decode_split", decode)
    return splits


def columns(rows: Rows) -> dict[str, list]:
    return {field.name: np.asarray(getattr(rows, field.name)).tolist() for field in fields(rows)}


def test_a_split_is_decoded_once_and_mapped(directory: Path, decoded: list[str]):
    one, two = (Export(directory).split(TRAIN) for _ in range(2))
    assert decoded == [TRAIN]
    assert columns(one) == columns(two)
    for name in ("cross", "labels", "item", "starts", "segments"):
        assert isinstance(getattr(two, name).base, np.memmap)


def test_blocks_of_rows_may_cut_requests_and_shards(directory: Path, monkeypatch: pytest.MonkeyPatch):
    whole = columns(Export(directory).split(TRAIN))
    shutil.rmtree(directory / "arrays")
    monkeypatch.setattr(split_decoder, "_ROWS_AT_ONCE", 5)
    assert columns(Export(directory).split(TRAIN)) == whole


def test_a_change_of_an_array_stays_in_its_process(directory: Path):
    Export(directory).split(TRAIN).labels[:] = 7
    assert Export(directory).split(TRAIN).labels.max() <= 1


def test_arrays_of_another_manifest_or_shard_are_made_anew(directory: Path, decoded: list[str]):
    export = Export(directory)
    export.split(TRAIN)
    replace(export.manifest, lag_days=3).write(directory)
    Export(directory).split(TRAIN)
    path = directory / "rows/00000.parquet"
    table = pq.read_table(path)
    weight = table["weight"].to_numpy() * 3
    pq.write_table(table.set_column(table.column_names.index("weight"), "weight", [weight]), path)
    assert set(Export(directory).split(TRAIN).weight) == {3.0}
    assert decoded == [TRAIN] * 3


@pytest.mark.parametrize("damage", ["cut", "index", "gone"])
def test_damaged_arrays_are_made_anew(directory: Path, decoded: list[str], damage: str):
    expected = columns(Export(directory).split(TRAIN))
    folder = directory / "arrays" / TRAIN
    if damage == "cut":
        os.truncate(folder / "cross.npy", 200)
    elif damage == "index":
        (folder / "index.json").write_text("{")
    else:
        (folder / "item.npy").unlink()
    assert columns(Export(directory).split(TRAIN)) == expected
    assert decoded == [TRAIN] * 2


def test_what_a_killed_process_left_aside_goes(directory: Path):
    left = directory / "arrays" / f".{TRAIN}.deadbeef.tmp"
    left.mkdir(parents=True)
    (left / "cross.npy").touch()
    Export(directory).split(TRAIN)
    assert sorted(path.name for path in (directory / "arrays").iterdir()) == [f".{TRAIN}.lock", TRAIN]


def test_rows_that_break_a_promise_leave_nothing_behind(directory: Path):
    plain = json.loads((directory / "manifest.json").read_text())
    plain["items"] = 3
    (directory / "manifest.json").write_text(json.dumps(plain))
    with pytest.raises(ExportError, match="column 'item' spans"):
        Export(directory).split(TRAIN)
    assert [path.name for path in (directory / "arrays").iterdir()] == [f".{TRAIN}.lock"]


def read_only(directory: Path) -> None:
    """As a read-only file system is seen, also by root: no folder can be made there."""
    (directory / "arrays").write_text("in the way")


def test_a_read_only_export_is_decoded_below_the_temporary_folder(directory: Path, temporary: Path, decoded: list[str]):
    expected = columns(Export(directory).split(TRAIN))
    shutil.rmtree(directory / "arrays")
    read_only(directory)
    assert columns(Export(directory).split(TRAIN)) == columns(Export(directory).split(TRAIN)) == expected
    assert decoded == [TRAIN] * 2
    [home] = temporary.iterdir()
    assert home.stat().st_mode & 0o777 == 0o700


def test_arrays_that_somebody_else_could_have_made_are_not_used(
    directory: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
):
    read_only(directory)
    Export(directory).split(TRAIN)
    [home] = temporary.iterdir()
    stranger = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: stranger)
    home.rename(home.with_name(home.name.replace(f"-{stranger - 1}-", f"-{stranger}-")))
    with pytest.raises(ExportError, match=r"neither .* nor .* can be written"):
        Export(directory).split(TRAIN)


def read_sum(directory: Path) -> tuple[float, int]:
    """In a process of its own: the sum of all cross features, and which file they came from."""
    cross = Export(directory).split(TRAIN).cross
    return float(cross.sum()), (directory / "arrays" / TRAIN / "cross.npy").stat().st_ino


def test_processes_that_decode_at_once_use_the_same_arrays(directory: Path):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        sums = list(pool.map(read_sum, [directory] * 4))
    table = pq.read_table(directory / "rows/00000.parquet")
    expected = np.array(table["cross"].to_pylist(), dtype=np.float32).sum()
    assert len(set(sums)) == 1
    assert sums[0][0] == pytest.approx(float(expected))
