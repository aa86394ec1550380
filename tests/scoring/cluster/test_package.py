"""A standalone cluster runs verbs with nothing of the program but its package."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyspark
import pytest

from etl.java import require_java
from scoring.cluster_package.build import build_package
from scoring.cluster_package.kinds import ETL
from scoring.cluster_package.submit import FILE, VERB
from tests.scoring.cluster.runs import BEFORE, CONFIG, DS, FIRST, JVM, SMALL, read_table
from tests.scoring.cluster.standalone import WorkerHost, standalone_cluster

pytestmark = [pytest.mark.cluster, pytest.mark.spark, pytest.mark.slow]

#: Knows nothing of what is installed in the environment that the tests run in.
BARE_PYTHON = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
HOSTS = (WorkerHost(gpus=(), cores=1, memory="1g"), WorkerHost(gpus=(), cores=1, memory="1g"))
SMALLER = " ".join(f"--set spark.conf.{key}={value}" for key, value in SMALL.items() if "driver" not in key)
SMALLER += f" --set spark.conf.spark.sql.shuffle.partitions=2 --set 'spark.conf.spark.executor.extraJavaOptions={JVM}'"
SIMULATE = f"simulate --out raw --events 3000 --seed 3 --start-ds {FIRST} --end-ds {DS}"
VERBS = (
    f"ingest --source parquet --input raw/events --start-ds {FIRST} --end-ds {BEFORE}",
    f"interactions --start-ds {FIRST} --end-ds {BEFORE}",
)
GRAIN = ("ds", "query_key", "item_id", "segment_name", "segment_value")
SEARCH = "import importlib.util as u; print([u.find_spec(name) for name in ('scoring', 'etl', 'delta')])"


def bare(folder: Path) -> dict[str, str]:
    """An environment without a trace of the program: neither its folder nor its virtual environment."""
    spark_home = str(Path(pyspark.__file__).parent)
    kept = {name: os.environ[name] for name in ("TMPDIR", "LANG") if name in os.environ}
    return kept | {
        "PATH": f"{spark_home}/bin:/usr/bin:/bin", "SPARK_HOME": spark_home, "JAVA_HOME": require_java(),
        "SPARK_LOCAL_IP": "127.0.0.1", "HOME": str(folder), "JDK_JAVA_OPTIONS": JVM,
    }  # fmt: skip


def run_bare(words: Sequence[str], folder: Path) -> str:
    """What a process in ``folder`` prints; AssertionError if it failed."""
    done = subprocess.run(words, cwd=folder, env=bare(folder), capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout.strip()


def submit(package: Path, title: str, verb: str, folder: Path, master: str = "") -> dict[str, Any]:
    """Run a verb in ``folder`` by the package's own command line below a title that begins so; the verb's report."""
    once, *lines = re.findall(r"(## [^\n]*)?\n\n```bash\n(.*?)```", (package / FILE).read_text(), re.DOTALL)
    [line] = [line for name, line in lines if name.startswith(f"## {title}")]
    line = line.replace("spark://HOST:7077", master).replace(VERB, f"{verb} --json {SMALLER}")
    out = run_bare(["bash", "-euo", "pipefail", "-c", once[1] + line], folder)
    report: dict[str, Any] = json.loads(out.splitlines()[-1])
    return report


def test_a_cluster_runs_the_job_from_the_package_alone(tmp_path: Path):
    package, work = tmp_path / "package", tmp_path / "work"
    work.mkdir()
    build_package(package, ETL, str(BARE_PYTHON), with_jars=True)
    (work / "prerank.yaml").write_text(CONFIG)
    assert run_bare([str(BARE_PYTHON), "-c", SEARCH], work) == "[None, None, None]"
    assert submit(package, "This host alone", SIMULATE, work)["rows"] > 1000
    for verb in VERBS:
        submit(package, "This host alone", verb, work)
    (work / "lake").rename(work / "local")
    with standalone_cluster(tmp_path, HOSTS) as master:
        for verb in VERBS:
            submit(package, "A standalone cluster", verb, work, master)
    local, cluster = (read_table(work / lake / "interactions", *GRAIN) for lake in ("local", "lake"))
    assert cluster.num_rows > 100
    assert cluster.equals(local), "the same rows, floats to the last bit"
