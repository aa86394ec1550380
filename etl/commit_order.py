"""Which records of ``runs`` stand, and in which order the commits that they tell of came.

Records stand in the order in which they were made. That is not always the order of the commits: jobs run at the same
time, and clocks are put back. Versions only grow, until a table is made anew or its log loses its end; then there is
nothing, or another run's commit, where a record says that its own is.
"""

from collections.abc import Iterable
from functools import cache
from typing import Protocol, TypeVar

from etl.conflicts import signature_of
from etl.delta_log import commit_info
from etl.lake import Lake


class Recorded(Protocol):
    """A record of a write, as far as its place needs it."""

    @property
    def output_version(self) -> int | None: ...

    @property
    def run_id(self) -> str: ...


R = TypeVar("R", bound=Recorded)


def in_commit_order(lake: Lake, table: str, records: Iterable[R]) -> list[R]:
    """Those of a table's ``records``, in the order in which they were made, whose commits stand, in the order of the
    commits. [] where the table is gone.

    Of a commit whose log entry Delta has cleaned up, its record is believed.
    """
    newest = lake.version(table) if lake.exists(table) else -1

    @cache
    def commit_of(version: int) -> str | None:
        return signature_of(commit_info(lake.spark, lake.path(table), version)).get("run_id")

    def stands(record: R) -> bool:
        return _version(record) <= newest and commit_of(_version(record)) in (None, record.run_id)

    standing: list[R] = []
    last: R | None = None
    for record in records:
        back = last is not None and _version(record) <= _version(last) and record.run_id != last.run_id
        # A version that does not grow: the log tells whether the last one was faster, or is of a former life.
        if back and last is not None and not stands(last):
            standing = [one for one in standing if stands(one)]
            last = max(standing, key=_version, default=None)
        standing.append(record)
        last = record if last is None else max(last, record, key=_version)
    return sorted((one for one in standing if _version(one) <= newest), key=_version)


def _version(record: Recorded) -> int:
    return -1 if record.output_version is None else record.output_version
