"""An export killed at random moments leaves the export of before whole, and run again is the one never killed."""

import os
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from etl.contract.dates import shift_ds
from etl.contract.manifest import HISTORIES_FILE, ITEMS_FILE, QUERIES_FILE, QUERY_ITEMS_FILE, read_manifest
from etl.contract.settings import to_plain
from tests.etl.logs import EXPORT_DAYS
from tests.killing import BOTH, JVM, PYTHON, duration, kill_again_and_again

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.spark]

KILLS = int(os.environ.get("PRERANK_KILLS") or 3)


def contents(directory: Path) -> dict[str, object]:
    """What a finished export holds, read through its manifest. Spark's Parquet has other bytes for the same rows."""
    manifest = read_manifest(directory)
    rows = {
        shard.path: pq.read_table(directory / shard.path, partitioning=None).drop_columns("oracle").to_pylist()
        for shard in manifest.shards
    }
    files = (ITEMS_FILE, QUERIES_FILE, HISTORIES_FILE, QUERY_ITEMS_FILE)
    tables = {name: (directory / name).read_bytes() for name in files}
    return {"manifest": manifest, **rows, **tables}


def test_a_killed_export_is_whole_or_not_there(built, tmp_path):
    config = tmp_path / "prerank.yaml"
    config.write_text(yaml.safe_dump(to_plain(built.config), sort_keys=False))
    words = [sys.executable, "-m", "scoring.main", "export", "--config", str(config)]

    def since(start: str, out: Path) -> list[str]:
        return [*words, "--start-ds", start, "--end-ds", EXPORT_DAYS.end, "--out", str(out)]

    shorter, whole, other = (tmp_path / name / "data" for name in ("shorter", "whole", "killed"))
    duration(since(shift_ds(EXPORT_DAYS.start, 1), shorter))
    usual = duration(since(EXPORT_DAYS.start, whole))
    before, after = contents(shorter), contents(whole)
    assert before != after
    shorter.parent.rename(other.parent)
    kill_again_and_again(
        since(EXPORT_DAYS.start, other), usual, KILLS, lambda: _one_of(contents(other), before, after),
        modes=(PYTHON, JVM, BOTH),
    )  # fmt: skip
    assert contents(other) == after
    assert [path.name for path in other.parent.iterdir()] == ["data"]


def _one_of(found: dict[str, object], *expected: dict[str, object]) -> None:
    assert found in expected
