"""An export killed at random moments leaves the export of before whole, and run again is the one never killed."""

import os
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from etl.contract.dates import shift_ds
from etl.contract.manifest import read_manifest
from etl.contract.settings import to_plain
from tests.etl.logs import EXPORT_DAYS
from tests.killing import duration, kill_again_and_again

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.spark]

KILLS = int(os.environ.get("PRERANK_KILLS") or 3)


def rows_of(directory: Path) -> dict[str, bytes]:
    """The files of a finished export, each read as its manifest promises it."""
    manifest = read_manifest(directory)
    for shard in manifest.shards:
        assert pq.read_metadata(directory / shard.path).num_rows == shard.rows
    return {path.name: path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def test_a_killed_export_is_whole_or_not_there(built, tmp_path):
    config = tmp_path / "prerank.yaml"
    config.write_text(yaml.safe_dump(to_plain(built.config), sort_keys=False))
    words = [sys.executable, "-m", "scoring.main", "export", "--config", str(config)]

    def since(start: str, out: Path) -> list[str]:
        return [*words, "--start-ds", start, "--end-ds", EXPORT_DAYS.end, "--out", str(out)]

    shorter, whole, other = (tmp_path / name / "data" for name in ("shorter", "whole", "killed"))
    duration(since(shift_ds(EXPORT_DAYS.start, 1), shorter))
    usual = duration(since(EXPORT_DAYS.start, whole))
    before, after = rows_of(shorter), rows_of(whole)
    assert before != after
    shorter.parent.rename(other.parent)
    kill_again_and_again(since(EXPORT_DAYS.start, other), usual, KILLS, lambda: _one_of(rows_of(other), before, after))
    assert rows_of(other) == after
    assert [path.name for path in other.parent.iterdir()] == ["data"]


def _one_of(found: dict[str, bytes], *expected: dict[str, bytes]) -> None:
    assert found in expected
