"""What the environment says wrongly is told by its name."""

import json
import subprocess
import sys

import pytest

from tests.dags.conftest import ROOT

READ = """
import json
from dags import settings

def said(read):
    try:
        return str(read())
    except ValueError as error:
        return str(error)

print(json.dumps([said(lambda: settings.whole("DAYS", 14)), said(lambda: settings.first_day()[0].date())]))
"""


@pytest.mark.airflow
@pytest.mark.parametrize(
    ("days", "start_ds", "said"),
    [
        (
            "abc",
            "01.02.2026",
            [
                "PRERANK_DAYS is 'abc', expected a whole number such as 14",
                "PRERANK_START_DS is '01.02.2026', expected a day as yyyy-mm-dd, or nothing",
            ],
        ),
        ("3", "2026-02-28", ["3", "2026-03-01"]),
    ],
)
def test_numbers_and_days_are_read_or_named(airflow_env: dict[str, str], days: str, start_ds: str, said: list[str]):
    env = airflow_env | {"PRERANK_DAYS": days, "PRERANK_START_DS": start_ds}
    done = subprocess.run([sys.executable, "-c", READ], env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == said
