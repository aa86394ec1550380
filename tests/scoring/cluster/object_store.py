"""An S3 on this host: moto's server in a process of its own, reachable from here only."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark
from pyarrow import fs

from tests.scoring.cluster.standalone import free_port

BUCKET = "bucket"
#: Hadoop's client for it, of the version of Spark's Hadoop.
[_HADOOP] = (Path(pyspark.__file__).parent / "jars").glob("hadoop-client-api-*.jar")
CLIENT = f"org.apache.hadoop:hadoop-aws:{_HADOOP.stem.rpartition('-')[2]}"
KEY, SECRET = "someone", "never-shown"
START_SECONDS = 60
#: Objects are said to have been written so long ago: old enough for VACUUM.
AGE_DAYS = 10
SERVER = f"""
import datetime, sys
from moto import server
from moto.s3 import models
now = models.utcnow
models.utcnow = lambda: now() - datetime.timedelta(days={AGE_DAYS})
server.main(sys.argv[1:])
"""


@dataclass(frozen=True)
class Store:
    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def conf(self) -> dict[str, str]:
        """Spark settings that reach it."""
        return {
            "spark.hadoop.fs.s3a.endpoint": self.endpoint,
            "spark.hadoop.fs.s3a.endpoint.region": "us-east-1",
            "spark.hadoop.fs.s3a.path.style.access": "true",
            "spark.hadoop.fs.s3a.access.key": KEY,
            "spark.hadoop.fs.s3a.secret.key": SECRET,
        }

    @property
    def files(self) -> fs.S3FileSystem:
        return fs.S3FileSystem(access_key=KEY, secret_key=SECRET, endpoint_override=self.endpoint, region="us-east-1")

    def upload(self, path: str, content: bytes) -> None:
        with self.files.open_output_stream(f"{BUCKET}/{path}") as out:
            out.write(content)

    def download(self, path: str, folder: Path) -> Path:
        """What lies at ``path`` in the bucket, in a folder."""
        fs.copy_files(f"{BUCKET}/{path}", str(folder), source_filesystem=self.files)
        return folder


@contextmanager
def object_store(log: Path) -> Iterator[Store]:
    """Start the server with an empty bucket; it ends, and forgets everything, with the block."""
    store = Store(free_port())
    command = [sys.executable, "-c", SERVER, "-H", "127.0.0.1", "-p", str(store.port)]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process:
        try:
            _make_bucket(store, log)
            yield store
        finally:
            process.terminate()


def _make_bucket(store: Store, log: Path) -> None:
    request = urllib.request.Request(f"{store.endpoint}/{BUCKET}", method="PUT")
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"no S3 within {START_SECONDS} s\n{log.read_text()[-3000:]}")
