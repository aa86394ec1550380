"""Airflow in a scratch home, in processes of its own: it configures logging and a database when it is imported."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONNECTION = '{"conn_type": "spark", "host": "local[2]"}'


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
