"""Frames that a job reads more than once, computed once and let go together."""

from types import TracebackType

from pyspark import StorageLevel
from pyspark.sql import DataFrame


class Cached:
    """``with Cached() as keep: frame = keep(frame)``; everything kept is released at the end of the block."""

    def __init__(self) -> None:
        self._frames: list[DataFrame] = []

    def __call__(self, frame: DataFrame) -> DataFrame:
        self._frames.append(frame.persist(StorageLevel.MEMORY_AND_DISK))
        return self._frames[-1]

    def __enter__(self) -> "Cached":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for frame in self._frames:
            frame.unpersist()
