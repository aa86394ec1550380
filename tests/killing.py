"""Programs that are killed at random moments and run again; and what of their processes is killed."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

#: What of a program is killed: its Python driver, the JVM below it, all of it, or one of its executors.
PYTHON, JVM, BOTH, EXECUTOR = MODES = ("python", "jvm", "both", "executor")
_PROCESSES = Path("/proc")


@dataclass(frozen=True)
class Process:
    pid: int
    begun: str
    """In ticks since the machine started: tells a process from a later one with its number."""
    command: str

    @property
    def is_alive(self) -> bool:
        found = _stat(self.pid)
        return found is not None and found.begun == self.begun and found.state not in "ZX"

    def kill(self) -> None:
        if self.is_alive:
            os.kill(self.pid, signal.SIGKILL)


@dataclass(frozen=True)
class _Stat:
    state: str
    parent: int
    begun: str


def _stat(pid: int) -> _Stat | None:
    try:
        fields = (_PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return _Stat(fields[0], int(fields[1]), fields[19])


def family(pid: int) -> list[Process]:
    """A process and all below it, parents first."""
    stats = {int(path.name): _stat(int(path.name)) for path in _PROCESSES.iterdir() if path.name.isdigit()}
    found = [pid] if stats.get(pid) else []
    for parent in found:
        found += [child for child, stat in stats.items() if stat is not None and stat.parent == parent]
    return list(_described(found))


def _described(pids: Sequence[int]) -> Iterator[Process]:
    for pid in pids:
        stat = _stat(pid)
        try:
            command = (_PROCESSES / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if stat is not None:
            yield Process(pid, stat.begun, command)


def victims(running: Sequence[Process], mode: str, draw: random.Random) -> list[Process]:
    """Those of a program's processes that a mode kills; [] where there is none of the kind (yet)."""
    if mode == PYTHON:
        return list(running[:1])
    if mode == BOTH:
        return list(running)
    kind = "SparkSubmit" if mode == JVM else "CoarseGrainedExecutorBackend"
    found = [process for process in running if kind in process.command]
    return [draw.choice(found)] if found else []


def wait_until_gone(processes: Sequence[Process], seconds: float) -> float:
    """Seconds until the last of them has ended; those that are left then are killed, and AssertionError is raised."""
    begun = time.monotonic()
    while left := [process for process in processes if process.is_alive]:
        if time.monotonic() - begun > seconds:
            for process in left:
                process.kill()
            raise AssertionError(f"still running after {seconds} s: {[process.command[:200] for process in left]}")
        time.sleep(0.02)
    return time.monotonic() - begun


def killed(words: Sequence[str], seconds: float, mode: str = BOTH) -> bool:
    """Whether the program was still running after so many seconds, and was killed; AssertionError if it failed."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            _, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            running = family(process.pid)
            for one in victims(running, mode, random.Random(0)) or running:
                one.kill()
            process.communicate(timeout=60)
            # What is left of a killed driver may still commit.
            wait_until_gone(running, seconds=60)
            return True
        assert process.returncode == 0, said
        return False


def duration(words: Sequence[str]) -> float:
    """Seconds of one undisturbed run."""
    start = time.monotonic()
    assert not killed(words, seconds=900)
    return time.monotonic() - start


def kill_again_and_again(
    words: Sequence[str], usual: float, kills: int, after_each: Callable[[], None], modes: Sequence[str] = (BOTH,)
) -> None:
    """Kill the program so many times at random moments of the ``usual`` seconds, then let it end.

    Start-up does nothing that could be lost: no kill falls into the first third. ``modes`` take turns.
    """
    moments = random.Random(5)
    done = 0
    while done < kills:
        if killed(words, usual * moments.uniform(0.33, 1.0), modes[done % len(modes)]):
            done += 1
            after_each()
    assert not killed(words, seconds=900)
