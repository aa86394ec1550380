"""A standalone Spark cluster on this host: master and workers in processes of their own, with GPUs that are none."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark

from etl.java import require_java

SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"
START_SECONDS = 90


@dataclass(frozen=True)
class WorkerHost:
    """What one worker offers."""

    gpus: tuple[str, ...]
    cores: int
    memory: str


def gpu_script(path: Path, addresses: Sequence[str]) -> Path:
    """A discovery script that finds GPUs at these addresses."""
    path.write_text(f"#!/bin/sh\necho '{json.dumps({'name': 'gpu', 'addresses': list(addresses)})}'\n")
    path.chmod(0o755)
    return path


@contextmanager
def standalone_cluster(folder: Path, hosts: Sequence[WorkerHost]) -> Iterator[str]:
    """Start master and workers; yields the master's URL once all workers have joined. They end with the block."""
    port, page = free_port(), free_port()
    master = f"spark://127.0.0.1:{port}"
    with ExitStack() as running:
        words = ["--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page)]
        running.enter_context(_daemon("master.Master", words, folder / "master"))
        for number, host in enumerate(hosts):
            home = folder / f"worker-{number}"
            home.mkdir()
            (home / "worker.properties").write_text(_offered(host, home))
            words = ["--host", "127.0.0.1", "--webui-port", "0", "--work-dir", str(home), "--cores", str(host.cores),
                     "--memory", host.memory, "--properties-file", str(home / "worker.properties"), master]  # fmt: skip
            running.enter_context(_daemon("worker.Worker", words, home / "log"))
        _wait_for_workers(page, len(hosts), folder)
        yield master


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _offered(host: WorkerHost, home: Path) -> str:
    if not host.gpus:
        return ""
    script = gpu_script(home / "gpus.sh", host.gpus)
    return f"spark.worker.resource.gpu.amount {len(host.gpus)}\nspark.worker.resource.gpu.discoveryScript {script}\n"


@contextmanager
def _daemon(name: str, words: Sequence[str], log: Path) -> Iterator[None]:
    # Executors inherit it: what they run has to come from their application.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"JAVA_HOME": require_java(), "SPARK_DAEMON_MEMORY": "256m", "SPARK_LOCAL_IP": "127.0.0.1"}
    command = [str(SPARK_CLASS), f"org.apache.spark.deploy.{name}", *words]
    with log.open("w") as out, subprocess.Popen(
        command, stdout=out, stderr=subprocess.STDOUT, env=env, start_new_session=True
    ) as process:  # fmt: skip
        try:
            yield
        finally:
            # A worker takes its executors along when it is asked to end.
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _wait_for_workers(page: int, count: int, folder: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{page}/json/", timeout=5) as answer:
                if json.load(answer)["aliveworkers"] == count:
                    return
        except OSError:
            pass
        time.sleep(0.3)
    logs = "\n".join(log.read_text()[-2000:] for log in [folder / "master", *folder.glob("worker-*/log")])
    raise AssertionError(f"no {count} workers within {START_SECONDS} s\n{logs}")
