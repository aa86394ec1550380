"""What ``runs`` tells of commits, read once for each of its versions: a job asks more than once before it writes."""

from functools import lru_cache
from operator import attrgetter

from pyspark.sql import Row
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.lake import Lake

_READ = ("run_id", "table", "ds", "end_ds", "inputs", "output_version", "definition_hash", "status")


def commits_told(lake: Lake) -> tuple[Row, ...]:
    """The records of all commits, in the order in which they were told; () without ``runs``.

    Beside columns of the table, ``finished`` is when the run ended, in microseconds.
    """
    if not lake.exists(c.RUNS):
        return ()
    lake.refresh(c.RUNS)
    return _read(lake, lake.stamp(c.RUNS))


@lru_cache(maxsize=1)
def _read(lake: Lake, stamp: str) -> tuple[Row, ...]:
    # Sorted here: Spark would need four jobs for it, where reading a few thousand records is one. By a number, as
    # Spark hands out times of the machine's own zone, which has an hour twice a year.
    finished = F.unix_micros("finished_at").alias("finished")
    told = lake.read(c.RUNS).where(F.col("output_version").isNotNull()).select(*_READ, finished)
    return tuple(sorted(told.coalesce(1).toLocalIterator(), key=attrgetter("finished", "output_version")))
