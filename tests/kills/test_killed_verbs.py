"""Every verb that writes, killed at random moments of its writing and run again, ends as if nobody had killed it.

What is killed takes turns: the Python driver alone, whose JVM lives on for a moment; the JVM alone; both; an executor.
A reader reads every version of every table throughout.
"""

import os
import random
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from etl.write_errors import ChangedMeanwhileError
from tests.killing import EXECUTOR, MODES, PYTHON, Process, family, victims, wait_until_gone
from tests.kills.conftest import Row, Stage, World
from tests.kills.files import fingerprints, left_over
from tests.kills.reader import Watcher, deeds, false_claims, read_lake
from tests.kills.verbs import KILLED, copied, finish, launch, said
from tests.kills.writing import FirstFile

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.spark]

#: Kills of each verb: a quarter of what single programs get, for there are many verbs.
KILLS = -(-int(os.environ.get("PRERANK_KILLS") or 4) // 4)
#: What a first file and a commit are followed by, in seconds: nothing, or a part of the time that writing takes.
_AT_ONCE = 0.15
_TRIES = 6


@pytest.mark.parametrize("name", [verb.name for verb in KILLED])
def test_a_killed_verb_run_again_ends_as_if_never_killed(world: World, name: str, tmp_path: Path, tally: list[Row]):
    stage, draw, row = world.stage(name), random.Random(name), Row(name)
    tally.append(row)
    modes = draw.sample(MODES, len(MODES)) if stage.verb.on_spark else [PYTHON]
    for number in range(KILLS):
        mode = modes[number % len(modes)]
        for attempt in range(_TRIES):
            folder = copied(stage.folder, tmp_path / f"{number}-{attempt}")
            if kill_and_run_again(stage, folder, mode, draw, attempt, row):
                break
        else:
            pytest.fail(f"{name} ended {_TRIES} times before it could be killed")


def kill_and_run_again(
    stage: Stage, folder: Path, mode: str, draw: random.Random, attempt: int, row: Row
) -> bool:  # fmt: skip
    """Whether it was killed before it ended. Either way it has to be what it should be in the end."""
    lake = folder / "lake"
    with Watcher(lake, stage.before, stage.after) as reader:
        first = FirstFile(folder)
        process = launch(stage.verb, folder, mode)
        try:
            hit, running = kill(stage, first, process, mode, draw, attempt)
            if hit:
                row.after_a_commit += read_lake(lake) != stage.before
                assert not false_claims(lake)
            if not hit or mode == EXECUTOR:
                assert process.wait(timeout=300) == 0, said(folder)
            else:
                # A dead process that nobody has waited for looks alive to those who ask for its number.
                process.wait(timeout=60)
            with ThreadPoolExecutor(max_workers=1) as beside:
                # At once: while the JVM of a killed driver may still commit.
                gone = beside.submit(wait_until_gone, running, 60)
                if hit and mode != EXECUTOR:
                    row.told_to_run_again += run_again(stage, folder, gone)
                if hit and mode == PYTHON:
                    row.orphan_seconds = round(max(row.orphan_seconds, gone.result()), 2)
                gone.result()
        finally:
            process.kill()
            process.wait()
        reader.look()
    assert reader.problems == []
    assert_as_never_killed(stage, folder)
    row.versions_read += reader.versions_read
    if hit:
        row.kills += 1
        row.reruns_equal += 1
        setattr(row, mode, getattr(row, mode) + 1)
    return hit


def run_again(stage: Stage, folder: Path, gone: "Future[float]") -> bool:
    """Run the verb to its end; whether it had to be done twice, as the first time said.

    A JVM that outlives its driver may commit what the new run is about to replace.
    """
    try:
        finish(stage.verb, folder)
    except ChangedMeanwhileError:
        gone.result()
        finish(stage.verb, folder)
        return True
    return False


def kill(
    stage: Stage, first: FirstFile, process: "subprocess.Popen[bytes]", mode: str, draw: random.Random, attempt: int
) -> tuple[bool, list[Process]]:  # fmt: skip
    """Wait for a moment of its writing and kill; returns whether it was hit, and all its processes."""
    aim = draw.choice(("file", "commit", "anywhere", "anywhere"))
    share = draw.uniform(0, 1) * 0.6**attempt
    for _ in range(draw.randint(1, 3) if aim == "commit" and attempt < 2 else 1):
        first.wait(lambda: process.poll() is None, log_entry=aim == "commit" and attempt < 2)
    time.sleep(share * (stage.writing_seconds if aim == "anywhere" else _AT_ONCE))
    running = family(process.pid)
    chosen = victims(running, mode, draw) if process.poll() is None else []
    for one in chosen:
        one.kill()
    return bool(chosen), running


def assert_as_never_killed(stage: Stage, folder: Path) -> None:
    lake = folder / "lake"
    assert read_lake(lake) == stage.after
    assert deeds(lake) == stage.deeds
    assert false_claims(lake) == []
    assert fingerprints(folder, stage.origin) == stage.files
    assert left_over(folder) == []
