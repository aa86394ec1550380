import json
import shutil
from pathlib import Path

import pytest

from models.dataset import Export
from models.errors import ModelError
from models.model_dir import CARD, WEIGHTS, save
from models.train import TrainResult
from models.version_files import files_digest, keep_version, load_version, require_version


@pytest.fixture
def source(tmp_path: Path, interactrank: TrainResult, export: Export) -> Path:
    save(interactrank, export.manifest, tmp_path / "model")
    return tmp_path / "model"


def edit_card(directory: Path, **changes: object) -> None:
    plain = json.loads((directory / CARD).read_text())
    (directory / CARD).write_text(json.dumps(plain | changes))


def test_a_kept_version_does_not_follow_its_source(
    tmp_path: Path, source: Path, two_tower: TrainResult, export: Export
):
    kept = keep_version(source, tmp_path / "trained", None)
    version = save(two_tower, export.manifest, source).version
    loaded = load_version(kept.path, kept.digest)
    assert loaded.card.name == "interactrank"
    assert kept.path == tmp_path / "trained/versions/interactrank" / loaded.card.version
    other = keep_version(source, tmp_path / "trained", None)
    assert other.path == tmp_path / "trained/versions/two_tower" / version


def test_keeping_again_touches_nothing(tmp_path: Path, source: Path):
    kept = keep_version(source, tmp_path, None)
    before = (kept.path / WEIGHTS).stat().st_mtime_ns
    assert keep_version(source, tmp_path, None) == keep_version(kept.path, tmp_path, kept.digest) == kept
    assert (kept.path / WEIGHTS).stat().st_mtime_ns == before


def test_a_registered_copy_stays_when_the_same_version_comes_with_another_card(tmp_path: Path, source: Path):
    kept = keep_version(source, tmp_path, None)
    edit_card(source, data={"start_ds": "2026-01-02"})
    assert keep_version(source, tmp_path, kept.digest) == kept
    assert files_digest(kept.path) == kept.digest


def test_a_damaged_copy_is_an_error_until_its_source_mends_it(tmp_path: Path, source: Path):
    kept = keep_version(source, tmp_path, None)
    (kept.path / WEIGHTS).write_bytes(b"other")
    with pytest.raises(ModelError, match="not those that were registered"):
        require_version(kept.path, kept.digest)
    assert keep_version(source, tmp_path, kept.digest) == kept
    require_version(kept.path, kept.digest)
    shutil.rmtree(kept.path)
    with pytest.raises(ModelError, match="incomplete"):
        load_version(kept.path, kept.digest)


@pytest.mark.parametrize("name", ["../../outside", "/etc", "..", ".hidden", "a/b", "a b", "", "a\n", None])
def test_a_name_that_cannot_be_a_folder_is_refused_before_anything_is_written(
    tmp_path: Path, source: Path, name: object
):
    for change in ({"name": name}, {"name": "interactrank", "version": name}):
        edit_card(source, **change)
        with pytest.raises(ModelError, match="cannot be a folder's name"):
            keep_version(source, tmp_path / "trained", None)
    assert not (tmp_path / "trained").exists()


@pytest.mark.faults
def test_a_source_that_is_replaced_while_it_is_copied_is_an_error(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
):
    copy = shutil.copyfile

    def copy_late(one: Path, other: Path) -> None:
        copy(one, other)
        (source / WEIGHTS).write_bytes(b"the next training")

    monkeypatch.setattr(shutil, "copyfile", copy_late)
    with pytest.raises(ModelError, match="trained anew while it was copied"):
        keep_version(source, tmp_path / "trained", None)
    assert not list((tmp_path / "trained").rglob(CARD))
