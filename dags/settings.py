"""What the environment of whatever parses the DAGs says, and what all four DAGs have in common.

The program's own configuration (lake.root, columns, windows, Spark profile) is ``prerank.yaml`` in the worker's folder
and ``PRERANK__SECTION__KEY`` in its environment, as for any other run of it. What the DAGs need beside that:

    PRERANK_SOURCE      parquet, csv, json, ubi or complete-journey [parquet]
    PRERANK_EVENTS      the raw log; ``{ds}`` in a path stands for the day
    PRERANK_ITEMS       the day's catalogue; empty: the lake keeps the one that it has
    PRERANK_CANDIDATES  the day's candidate sets; empty: none are ingested, and only PRERANK_RETRIEVE=events scores
    PRERANK_EXPORTS     exports go to {this}/{ds} [./exports]
    PRERANK_MODELS      models go to {this}/{ds}/{model}, promoted versions to {this}/versions [./trained]
    PRERANK_MODEL       the model that is trained: two_tower, interactrank, ... [interactrank]
    PRERANK_DAYS        days in an export, the run's own the last; each needs the interactions of the day before [14]
    PRERANK_LABEL_DAYS  an export ends so many days earlier: export.label_window_days of the configuration [0]
    PRERANK_SCORED_BY   champion, or a model directory [champion]
    PRERANK_RETRIEVE    given: candidate sets that came without items are filled; events: also those of the day's
                        requests that have no set, so that scoring waits for interactions alone; empty: neither
    PRERANK_REPORTS     reports go to {this}/{ds}.html [./reports]

When things run, times in UTC:

    PRERANK_DAILY_CRON     once a day, when the one that has ended is ingested [0 2 * * *]
    PRERANK_TRAINING_CRON  when the days up to yesterday are trained on [0 6 * * 1]
    PRERANK_START_DS       the first day of a lake that is to be caught up from there; empty: only the newest day runs
    PRERANK_POOL           the pool of all tasks that write tables [default_pool]
    PRERANK_PARALLEL       chunks that prerank_backfill builds at a time [1]: windows of neighbouring days share tables
    PRERANK_RETRIES        of each task, 5 minutes apart; exit codes 2 and 3 are never retried [2]

Workers need ``prerank``, ``spark-submit`` and the right ``python3`` on PATH, and a connection ``spark_default`` (for
example ``AIRFLOW_CONN_SPARK_DEFAULT='{"conn_type": "spark", "host": "local[2]"}'``). For spark-submit itself:

    PRERANK_APPLICATION         scoring/main.py as workers or the cluster see it [beside the installed package]
    PRERANK_CONFIG              the configuration file, where it is not prerank.yaml in the worker's folder
    PRERANK_PACKAGES            coordinates of Delta's jars; empty where the cluster has them
    PRERANK_DRIVER_MEMORY       [4g]; known before the driver starts, so a Spark profile cannot set it
    PRERANK_SCORING_PROFILE     the Spark profile of embed, candidates and score, gpu for one; empty: as configured
    PRERANK_TRAINING_EXECUTORS  train in so many processes on Spark executors [0: in one, on the Airflow worker]
    PRERANK_TRAINING_PROFILE    the Spark profile of that, gpu_training for one; empty: as configured
    PRERANK_TRACK               yarn or kubernetes: the connection's deploy mode is cluster, and a task that lost its
                                worker finds its application again instead of submitting another; empty: client mode
"""

import os
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Param

try:
    from dags.rules import FailAtOnceOnTerminalExitCodes
except ImportError:
    # Not installed here: Airflow has put this folder itself on sys.path.
    from rules import FailAtOnceOnTerminalExitCodes  # type: ignore[import-not-found, no-redef]


def given(name: str, default: str = "") -> str:
    """``PRERANK_{name}``; a variable that is set to nothing is set."""
    return os.environ.get(f"PRERANK_{name}", default)


def whole(name: str, default: int) -> int:
    """The whole number in ``PRERANK_{name}``. Raises ValueError for anything else, which Airflow shows at the DAG."""
    said = given(name) or str(default)
    try:
        return int(said)
    except ValueError:
        raise ValueError(f"PRERANK_{name} is {said!r}, expected a whole number such as {default}") from None


def text(name: str, description: str, default: str = "") -> Param:
    """A param of a run whose default the environment names."""
    return Param(given(name, default), type="string", description=description)


def first_day() -> tuple[datetime, bool]:
    """Where schedules start, and whether what lies between that and now is caught up.

    A day runs once it has ended: the schedule of PRERANK_START_DS begins on the day after it. Raises ValueError for
    what is no day.
    """
    ds = given("START_DS")
    if not ds:
        return datetime(2026, 1, 1, tzinfo=UTC), False
    try:
        day = datetime.strptime(ds, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"PRERANK_START_DS is {ds!r}, expected a day as yyyy-mm-dd, or nothing") from None
    return day + timedelta(days=1), True


def common() -> dict[str, Any]:
    """Arguments of every DAG."""
    return {
        # Days of one lake follow each other: windows, exports and champions of a day read the days before it. Backfills
        # have a limit of their own, which this one does not bind: airflow backfill create --max-active-runs 1.
        "max_active_runs": 1,
        "user_defined_filters": {"quote": shlex.quote},
        "default_args": {
            "retries": whole("RETRIES", 2),
            "retry_delay": timedelta(minutes=5),
            "retry_policy": FailAtOnceOnTerminalExitCodes(),
        },
        "tags": ["prerank"],
    }
