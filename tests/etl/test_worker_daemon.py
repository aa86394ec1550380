import gc
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

FORGETS = """
import importlib, sys, zipimport
from etl.worker_daemon import prepare
prepare()
sys.path.insert(0, sys.argv[1])
import held
zipimport._read_directory = None  # whoever reads an archive again fails
importlib.invalidate_caches()
import also_held
"""


def test_an_archive_on_the_path_is_read_once_whatever_is_forgotten(tmp_path: Path):
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr("held.py", "")
        code.writestr("also_held.py", "")
    done = subprocess.run([sys.executable, "-c", FORGETS, str(archive)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.spark
def test_workers_begin_with_the_packages_of_kernels_and_without_torch(spark):
    def seen(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            known = [gc.get_freeze_count() > 0, "etl.exchange" in sys.modules, "torch" not in sys.modules]
            yield pa.RecordBatch.from_arrays([pa.array([all(known)])], ["known"])

    # Another environment has workers of its own: those that are there may have loaded torch for another test.
    fresh = spark.newSession()
    fresh.conf.set("spark.sql.execution.pyspark.udf.faulthandler.enabled", "true")
    assert [row.known for row in fresh.range(1).coalesce(1).mapInArrow(seen, "known boolean").collect()] == [True]
