import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from etl.contract.manifest import TEST
from models.dataset import Export
from models.errors import FeatureContractError, ModelError
from models.model_dir import CARD, WEIGHTS, load, read_card, save
from models.scorers import TowerScorer, no_track
from models.train import TrainResult


@pytest.fixture
def directory(tmp_path: Path, interactrank: TrainResult, export: Export) -> Path:
    save(interactrank, export.manifest, tmp_path / "model")
    return tmp_path / "model"


def test_a_loaded_model_scores_identically(directory: Path, interactrank: TrainResult, export: Export):
    rows = export.split(TEST)
    loaded = load(directory)
    before = TowerScorer(interactrank.model, interactrank.spec).score(export, rows, "", no_track)
    after = TowerScorer(loaded.model, loaded.card.spec).score(export, rows, "", no_track)
    assert before.logits is not None
    assert after.logits is not None
    assert np.array_equal(before.logits, after.logits)
    assert loaded.model.fusion() == interactrank.model.fusion()


def test_the_card_says_what_the_model_is(directory: Path, interactrank: TrainResult, export: Export):
    card = read_card(directory)
    assert (card.name, card.best_epoch, card.metrics) == ("interactrank", interactrank.best_epoch, interactrank.metrics)
    assert (card.config, card.spec, card.scaling) == (interactrank.config, interactrank.spec, interactrank.scaling)
    assert card.curve == interactrank.curve
    assert card.data["rows"] == export.manifest.rows


def test_saving_again_changes_nothing(directory: Path, interactrank: TrainResult, export: Export):
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    save(interactrank, export.manifest, directory)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == files
    assert sorted(files) == [CARD, WEIGHTS]


def test_versions_differ_when_models_do(
    tmp_path: Path, interactrank: TrainResult, two_tower: TrainResult, export: Export
):
    one = save(interactrank, export.manifest, tmp_path / "a").version
    assert one != save(two_tower, export.manifest, tmp_path / "b").version
    assert one == save(interactrank, export.manifest, tmp_path / "c").version


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"cross": ("all__click_share_7d", "other")}, r"cross\[1\]"),
        ({"actions": ("impression", "click")}, r"actions\[2\]"),
        ({"categories": ("brand",)}, r"categories\[0\]"),
        ({"numerics": ()}, r"numerics\[0\]"),
        ({"segments": {"country": ("", "DE")}}, r"segments\[1\]"),
    ],
)
def test_data_of_another_contract_is_an_error_that_names_the_column(
    directory: Path, export: Export, change: dict[str, object], column: str
):
    with pytest.raises(FeatureContractError, match=column):
        load(directory).card.spec.check(replace(export.manifest, **change))


def test_data_with_more_segment_values_is_fine(directory: Path, export: Export):
    grown = {"country": ("", "AT", "DE", "FR"), "gender": ("", "f", "m")}
    spec = load(directory).card.spec
    manifest = replace(export.manifest, segments=grown)
    spec.check(manifest)
    assert spec.segment_maps(manifest)[0].tolist() == [0, 0, 1, 2]


def test_missing_damaged_and_foreign_directories_are_clear_errors(directory: Path):
    with pytest.raises(ModelError, match=r"model\.json is missing.*prerank train"):
        load(directory / "nothing")
    (directory / WEIGHTS).write_bytes(b"not tensors")
    with pytest.raises(ModelError, match="cannot be read as weights of 'interactrank'"):
        load(directory)
    plain = json.loads((directory / CARD).read_text())
    (directory / CARD).write_text(json.dumps(plain | {"format_version": 99}))
    with pytest.raises(ModelError, match="format 99, this program reads 1"):
        load(directory)
    (directory / CARD).write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        load(directory)
