"""One writer at a time for each table of a lake on a local disk.

Delta settles who commits a version by who first gives a file that version's name. Object stores and HDFS refuse the
second; a local file system replaces the first one's file without a word, and its commit is lost. The lock is the JVM's,
not Python's: the JVM commits, and for a moment it outlives a Python driver that is killed. It goes with its process.
"""

import json
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etl.contract.paths import local_part
from etl.jvm import java_class
from etl.lake import Lake
from etl.write_errors import TableBusyError

_LOG = logging.getLogger(__name__)
_FOLDER = "_locks"
_PAUSE_SECONDS = 0.2
#: A write of a laptop's lake takes minutes; who waits longer waits for something that hangs.
MOST_SECONDS = 3600.0

# Java's locks are of a process: threads of one have to agree among themselves.
_threads: dict[str, threading.Lock] = defaultdict(threading.Lock)


@contextmanager
def one_writer(lake: Lake, table: str, who: Mapping[str, Any], most_seconds: float = MOST_SECONDS) -> Iterator[None]:
    """Within: nobody else on this host writes ``table``. Lakes that are not on a local path need no lock.

    ``who`` is what others are told while they wait. Raises TableBusyError after ``most_seconds`` of waiting.
    """
    root = local_part(lake.root)
    if not root.startswith("/"):
        yield
        return
    path = Path(root) / _FOLDER / f"{table}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with _threads[str(path)]:
        file = java_class(lake.spark, "java.io.RandomAccessFile")(str(path), "rw")
        try:
            _wait(file.getChannel(), path, table, most_seconds)
            path.write_text(json.dumps(dict(who)), encoding="utf-8")
            yield
        finally:
            # The lock goes with the file.
            file.close()


def _wait(channel: Any, path: Path, table: str, most_seconds: float) -> None:
    for attempt in range(int(most_seconds / _PAUSE_SECONDS) + 1):
        if channel.tryLock() is not None:
            return
        if attempt == 1:
            _LOG.warning("table '%s' is being written by %s: waiting", table, holder(path))
        time.sleep(_PAUSE_SECONDS)
    raise TableBusyError(table, holder(path), int(most_seconds))


def holder(path: Path) -> str:
    """Who says in a lock's file that it holds the lock."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    return described(known) if isinstance(known, dict) else "another process"


def described(who: Mapping[str, Any]) -> str:
    """A run in a few words, of what its commits and its locks say."""
    job = f"job {who.get('job', '?')}"
    return f"run {who['run_id']} ({job}, started {str(who.get('started_at', '?'))[:19]})" if "run_id" in who else job
