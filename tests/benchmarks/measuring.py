"""How benchmarks measure: seconds of a call, CPU seconds of its parts, memory of Spark's Python workers."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def seconds_of(run: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    begun = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun


class Laps:
    """CPU seconds by part; a part within another counts for itself only."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = [0.0]

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            begun = time.process_time()
            self._inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                spent, inner = time.process_time() - begun, self._inner.pop()
                self.seconds[part] = self.seconds.get(part, 0.0) + spent - inner
                self._inner[-1] += spent

        return run


class PeakMemory:
    """The largest Python worker of Spark while it runs: all that is resident, and without what it maps from files."""

    def __enter__(self) -> "PeakMemory":
        self.resident = self.own = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            for status in Path("/proc").glob("[0-9]*/status"):
                try:
                    # As a word of its own: the JVM's command line names it too, within a setting.
                    words = (status.parent / "cmdline").read_bytes().split(b"\0")
                    if b"etl.worker_daemon" not in words or not _ours(status.parent):
                        continue
                    kb = dict(line.split(":", 1) for line in status.read_text().splitlines())
                    self.resident = max(self.resident, int(kb["VmRSS"].split()[0]) * 1024)
                    self.own = max(self.own, int(kb["RssAnon"].split()[0]) * 1024)
                except (OSError, KeyError, ValueError):
                    continue


def cpu_seconds() -> float:
    """CPU time so far of this process and all that descend from it: the JVM and Spark's Python workers."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if _ours(process):
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        except (OSError, ValueError):
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def _ours(process: Path) -> bool:
    """Whether a process descends from this one."""
    number = int(process.name)
    while number > 1:
        if number == os.getpid():
            return True
        number = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
    return False
