from pathlib import Path

import pytest

from etl.contract.errors import UsageError
from etl.contract.paths import file_uri, is_uri, local_part, local_path, require_local


@pytest.mark.parametrize("path", ["s3a://bucket/lake", "file:/lake", "hdfs://host:8020/lake", "abfss://a@b/c"])
def test_what_names_its_file_system_is_a_uri(path: str):
    assert is_uri(path)
    with pytest.raises(UsageError, match="is a URI, expected a path on this machine"):
        local_path(path)


@pytest.mark.parametrize("path", ["lake", "./lake", "/lake/ds=2026-01-01", "~/lake", "../a:b/c", "2026:01"])
def test_any_other_is_a_path_of_this_machine(path: str):
    assert not is_uri(path)
    assert local_path(path) == Path(path)


@pytest.mark.parametrize(
    ("uri", "part"),
    [
        ("file:/lake", "/lake"),
        ("file:///lake/a b", "/lake/a b"),
        ("/lake", "/lake"),
        ("file", "file"),
        ("s3a://file:/lake", "s3a://file:/lake"),
    ],
)
def test_a_local_uri_has_a_path_and_others_stay(uri: str, part: str):
    assert local_part(uri) == part


def test_a_setting_that_must_be_local_is_named():
    with pytest.raises(ValueError, match="keep: 's3a://b/k' is a URI"):
        require_local("keep", "./trained", "s3a://b/k")


def test_a_local_path_is_told_to_spark_as_it_is_written():
    assert file_uri(Path("/data/my data/ü%20")) == "file:///data/my data/ü%20"
    assert file_uri(Path("out")) == f"file://{Path.cwd()}/out"
