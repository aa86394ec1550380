"""Doing what must not stop the work that it goes with: telling others of it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def failure_of(function: Callable[..., Any], *args: Any) -> BaseException | None:
    """Call ``function`` and return what it raised, for the caller to report; None if it succeeded."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(function, *args).exception()
