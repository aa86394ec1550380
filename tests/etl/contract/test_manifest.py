import dataclasses
import hashlib
import json

import pytest

from etl.contract.errors import ManifestError
from etl.contract.manifest import FILE, Head, LabelDefinition, Manifest, Shard, read_manifest
from etl.contract.statistics import FeatureStatistics

MANIFEST = Manifest(
    start_ds="2024-02-28",
    end_ds="2024-03-01",
    lag_days=1,
    history_length=5,
    history_days=90,
    heads=(Head("engagement", ("click", "save"), 20.0), Head("save", ("save",), 1.0, ("click",))),
    actions=("impression", "click", "save"),
    segments={"country": ("", "DE"), "gender": ("",)},
    cross=("all__click_share_7d",),
    categories=("brand",),
    numerics=(),
    dense=(),
    shards=(Shard("rows/00000.parquet", "train", 3), Shard("rows/00001.parquet", "test", 4)),
    items=5,
    queries=6,
    users=7,
    positives={"engagement": 2, "save": 0},
    sources={"events": 3},
    config_hash="abc",
    has_oracle=False,
    coverage_by_ds={"2024-02-28": {"rows": 3, "with_history": 0.5}},
    label_definition=LabelDefinition(label_window_days=2, row_weights=(("save", 7.0), ("click", 1.0))),
    splits={"train": ("2024-02-28", "2024-02-29"), "test": ("2024-03-01", "2024-03-01")},
    statistics={
        "all__click_share_7d": FeatureStatistics(
            rows=3,
            missing_share=1 / 3,
            min=0.0,
            max=0.1,
            mean=0.05,
            std=0.05,
            quantiles={"p50": 0.0},
            edges=(0.1,),
            shares=(0.0, 2 / 3, 1 / 3, 0.0),
        )
    },
    baseline="def",
    drift={"all__click_share_7d": 0.02},
)


def test_a_manifest_is_read_back_as_it_was_written(tmp_path):
    MANIFEST.write(tmp_path)
    assert read_manifest(tmp_path) == MANIFEST
    assert MANIFEST.rows == 7


def test_the_digest_is_of_the_file_as_written(tmp_path):
    MANIFEST.write(tmp_path)
    assert MANIFEST.digest() == hashlib.sha256((tmp_path / FILE).read_bytes()).hexdigest()
    assert read_manifest(tmp_path).digest() == MANIFEST.digest()
    assert dataclasses.replace(MANIFEST, items=6).digest() != MANIFEST.digest()


def test_a_directory_without_a_manifest_is_no_export_and_says_how_to_make_one(tmp_path):
    with pytest.raises(ManifestError, match="prerank export"):
        read_manifest(tmp_path)


def test_another_format_asks_for_a_new_export(tmp_path):
    dataclasses.replace(MANIFEST, format_version=99).write(tmp_path)
    with pytest.raises(ManifestError, match="format 99, this program reads 4"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format_version": 4}', '{"format_version": 4, "segments": []}'])
def test_a_damaged_manifest_is_named(tmp_path, damage):
    (tmp_path / FILE).write_text(damage)
    with pytest.raises(ManifestError, match="damaged"):
        read_manifest(tmp_path)


def test_a_key_that_this_program_does_not_know_is_damage(tmp_path):
    plain = dataclasses.asdict(MANIFEST) | {"colour": "red"}
    (tmp_path / FILE).write_text(json.dumps(plain))
    with pytest.raises(ManifestError, match="colour"):
        read_manifest(tmp_path)
