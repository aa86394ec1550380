"""The process that Spark forks its Python workers from, in the place of ``pyspark.daemon``, which it runs.

What it does once would be done by each worker, or by each of their tasks:

- Before a task, Spark 4.1 has all import caches forgotten, and a zip archive on the path then reads its directory anew:
  with Spark's own jar, which stands there, that is 0.2 to 0.4 s a task, more than most tasks have to do (SPARK-54744;
  4.2 forgets nothing unless files were added). Archives on a worker's path never change: they keep theirs.
- After a task, a worker collects garbage. What was imported before the fork is no garbage: it is not looked at.
- Workers share the packages that kernels are made with, instead of importing them each.
"""

import gc
import importlib
import zipimport

from pyspark import daemon

#: Without torch, whose threads would not outlive a fork.
_SHARED = ("numpy", "pandas", "pyarrow.compute", "etl.exchange")


def prepare() -> None:
    """For all workers that this process will be forked into."""
    setattr(zipimport.zipimporter, "invalidate_caches", lambda archive: None)  # noqa: B010
    for name in _SHARED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    prepare()
    daemon.manager()
