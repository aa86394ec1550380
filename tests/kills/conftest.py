"""The small lake before and after every verb, made once; and the table of what was killed."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from scoring.terminal import table_of
from tests.kills.files import fingerprints
from tests.kills.reader import Held, deeds, read_lake
from tests.kills.verbs import CONFIG, VERBS, Verb, copied, finish
from tests.kills.writing import FirstFile, Stopwatch

TALLY: "pytest.StashKey[list[Row]]" = pytest.StashKey()


@dataclass
class Row:
    """What happened to one verb."""

    verb: str
    kills: int = 0
    python: int = 0
    jvm: int = 0
    both: int = 0
    executor: int = 0
    after_a_commit: int = 0
    """Kills when a table or a folder had changed already."""
    reruns_equal: int = 0
    told_to_run_again: int = 0
    """Reruns that began before the killed driver's JVM had ended, and met its commit."""
    versions_read: int = 0
    """By the reader that reads throughout."""
    orphan_seconds: float = 0.0
    """The longest that a JVM outlived its Python driver."""


@dataclass(frozen=True)
class Stage:
    """A verb, the folder that it found, and what it made of it when nobody killed it."""

    verb: Verb
    folder: Path
    origin: Path
    """Where it was copied from."""
    before: dict[tuple[str, str], Held]
    after: dict[tuple[str, str], Held]
    files: dict[str, object]
    deeds: set[tuple[Any, ...]]
    writing_seconds: float
    """From its first new file to its end."""


@dataclass
class World:
    """Stages by the name of their verb, each made when it is first asked for."""

    root: Path
    stages: dict[str, Stage] = field(default_factory=dict)

    def stage(self, name: str) -> Stage:
        place = [verb.name for verb in VERBS].index(name)
        for number in range(len(self.stages), place + 1):
            self.stages[VERBS[number].name] = self._make(number)
        return self.stages[name]

    def _make(self, number: int) -> Stage:
        verb, working = VERBS[number], self.root / "working"
        if verb.prepare:
            verb.prepare(working)
        folder = copied(working, self.root / f"before-{number:02d}")
        with Stopwatch(FirstFile(working)) as watch:
            finish(verb, working)
        old, new = folder / "lake", working / "lake"
        return Stage(
            verb, folder, working, before=read_lake(old), after=read_lake(new), files=fingerprints(working, working),
            deeds=deeds(new), writing_seconds=watch.seconds,
        )  # fmt: skip


@pytest.fixture(scope="session")
def world(spark, tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("faults")
    (root / "working").mkdir()
    (root / "working" / "prerank.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    return World(root)


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> list[Row]:
    """What has been killed so far, a row per verb; shown and, where PRERANK_FAULTS_OUT says so, written at the end."""
    rows: list[Row] = []
    request.config.stash[TALLY] = rows
    return rows


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash.get(TALLY, [])
    if not rows:
        return
    terminalreporter.section("killed and run again")
    terminalreporter.write_line(table_of([vars(row) for row in rows], empty=""))
    terminalreporter.write_line(f"{sum(row.kills for row in rows)} kills")
    if os.environ.get("PRERANK_FAULTS_OUT"):
        Path(os.environ["PRERANK_FAULTS_OUT"]).write_text(json.dumps([vars(row) for row in rows], indent=2) + "\n")
