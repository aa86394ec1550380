"""When a program begins to write: seen from the files of the folder that it works in."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path


class FirstFile:
    """Tells when a program begins to write, from what it adds to a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.known = self._files()

    def _files(self) -> set[str]:
        names = set()
        for base, folders, files in os.walk(self.folder):
            folders[:] = [name for name in folders if name not in ("_locks", "spark-warehouse")]
            names |= {os.path.join(base, name) for name in files if name != "log"}
        return names

    def wait(self, running: Callable[[], bool], log_entry: bool = False) -> bool:
        """Until a file is there that was not, or with ``log_entry`` a commit of Delta's; False if none ever came."""
        while running():
            new = self._files() - self.known
            if log_entry:
                new = {name for name in new if "_delta_log" in name and name.endswith(".json")}
                new = {name for name in new if not os.path.basename(name).startswith(".")}
            if new:
                self.known |= new
                return True
            time.sleep(0.02)
        return False


class Stopwatch:
    """Measures the block from its first new file to its end: ``seconds``, half a second at least."""

    def __init__(self, first: FirstFile):
        self._first, self._begun, self._ended = first, 0.0, threading.Event()
        self._thread = threading.Thread(target=self._wait)
        self.seconds = 0.0

    def _wait(self) -> None:
        if self._first.wait(lambda: not self._ended.is_set()):
            self._begun = time.monotonic()

    def __enter__(self) -> "Stopwatch":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        ended = time.monotonic()
        self._ended.set()
        self._thread.join()
        self.seconds = max(0.5, ended - (self._begun or ended))
