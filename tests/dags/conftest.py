"""Airflow in a scratch home, in processes of its own: it configures logging and a database when it is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONNECTION = '{"conn_type": "spark", "host": "local[2]"}'
AIRFLOW = str(Path(sys.executable).with_name("airflow"))

#: A configuration in the folder in which Airflow is started, so that tests also show that tasks find it.
TINY_CONFIG = """
lake: {root: ./lake}
events: {segments: [country]}
interactions: {windows_days: [3]}
items: {categories: [category]}
spark: {conf: {spark.sql.shuffle.partitions: "1"}}
train: {epochs: 1, dim: 8, hidden: [16], text_buckets: 512, id_buckets: 512}
"""
#: For many short-lived JVMs.
TINY_SPARK = {
    # What the second compiler would gain costs more than it brings. Without it the JVM keeps 48 MiB for compiled code,
    # which an export fills.
    "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC",
    "SPARK_LOCAL_IP": "127.0.0.1",
    "PRERANK_DRIVER_MEMORY": "1g",
    "PRERANK_RETRIES": "0",
}
RUN_EACH = "import json, sys; from scoring.main import main; sys.exit(max(map(main, json.loads(sys.argv[1]))))"


@pytest.fixture(scope="session")
def airflow_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of such a process: none of the user's settings, and the programs installed beside Python."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PRERANK"))}
    programs = Path(sys.executable).parent
    return inherited | {
        "AIRFLOW_HOME": str(tmp_path_factory.mktemp("airflow")),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW_CONN_SPARK_DEFAULT": CONNECTION,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }


def run(command: list[str], env: dict[str, str], folder: Path) -> str:
    """What a command printed; fails the test, with its last lines, unless it ends well."""
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
    return done.stdout + done.stderr
