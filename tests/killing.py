"""Programs that are killed at random moments and run again."""

import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence


def killed(words: Sequence[str], seconds: float) -> bool:
    """Whether the program was still running after so many seconds, and was killed; AssertionError if it failed."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            _, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return True
        assert process.returncode == 0, said
        return False


def duration(words: Sequence[str]) -> float:
    """Seconds of one undisturbed run."""
    start = time.monotonic()
    assert not killed(words, seconds=900)
    return time.monotonic() - start


def kill_again_and_again(words: Sequence[str], usual: float, kills: int, after_each: Callable[[], None]) -> None:
    """Kill the program so many times at random moments of the ``usual`` seconds, then let it end.

    Start-up does nothing that could be lost: no kill falls into the first third.
    """
    moments = random.Random(5)
    while kills:
        if killed(words, usual * moments.uniform(0.33, 1.0)):
            kills -= 1
            after_each()
    assert not killed(words, seconds=900)
