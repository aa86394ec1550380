"""Batches made ahead of the step that wants them, in threads: gathers in numpy and torch release the interpreter."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from models.contract import Batch


class Prefetch:
    """Iterates over ``make(step)`` for each of ``steps``, in order, made by ``workers`` threads (0: when asked for).

    ``waited`` is the time in seconds that the consumer has spent waiting for batches so far.
    """

    def __init__(self, make: Callable[[int], Batch], steps: range, workers: int):
        self.make, self.steps, self.workers = make, steps, workers
        self.waited = 0.0

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Batch]:
        batches = self._ahead() if self.workers else map(self.make, self.steps)
        while True:
            start = time.monotonic()
            batch = next(batches, None)
            self.waited += time.monotonic() - start
            if batch is None:
                return
            yield batch

    def _ahead(self) -> Iterator[Batch]:
        # One batch more than there are threads: none idles while the consumer holds one.
        waiting: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="loader") as pool:
            try:
                for step in self.steps:
                    waiting.append(pool.submit(self.make, step))
                    if len(waiting) > self.workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
