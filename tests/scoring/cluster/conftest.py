"""A small day, ready to be scored, made once by the verbs and scored in local mode; and copies of it for clusters."""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.scoring.cluster.runs import CONFIG, LOCAL, MAKE, RUN_EACH, finish, read_table, settings, start, start_score


@dataclass(frozen=True)
class Day:
    """A folder with a lake, a model and ``prerank.yaml``; ``scores`` and ``report`` are those of local mode."""

    folder: Path
    scores: pa.Table
    report: dict[str, Any]


@pytest.fixture(scope="session")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    folder = tmp_path_factory.mktemp("day")
    (folder / "prerank.yaml").write_text(CONFIG)
    verbs = [[*line.split(), *settings("local", LOCAL)] for line in MAKE.strip().splitlines()]
    finish(start([sys.executable, "-c", RUN_EACH, json.dumps(verbs)], folder))
    shutil.copytree(folder / "lake", folder / "before")
    report = finish(start_score(folder, "local", LOCAL))
    scores = read_table(folder / "lake" / "scores")
    shutil.rmtree(folder / "lake")
    (folder / "before").rename(folder / "lake")
    return Day(folder, scores, report)


@pytest.fixture
def copied(day: Day, tmp_path: Path) -> Path:
    """The day before it was scored, in a folder of the test's own."""
    folder = tmp_path / "day"
    folder.mkdir()
    for name in ("lake", "model"):
        shutil.copytree(day.folder / name, folder / name)
    shutil.copy(day.folder / "prerank.yaml", folder)
    (folder / "log").mkdir()
    return folder
