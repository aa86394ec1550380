"""The job behind ``prerank check --leaks``.

Interactions are built and an export is made in both lakes of a trial (etl.leaks.trial), with the user's configuration;
then no feature of a row before the cut may differ, and features of rows after it must, or the trial proves nothing.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.dataset as ds

from etl.config import EtlConfig
from etl.contract.dates import DateRange
from etl.contract.errors import UsageError
from etl.contract.paths import file_uri
from etl.export import export_training_data
from etl.kernels.codes import Ints
from etl.lake import Lake
from etl.leaks.naive import naive_cross
from etl.leaks.opened import Opened, opened
from etl.leaks.trial import OTHER, TRUE, Tick, Trial, prepared
from etl.leaks.verdict import Marks, Verdict, alone, judged


def check_leaks(
    lake: Lake, config: EtlConfig, days: DateRange, cut_ds: str, seed: int, requests: int, scratch: Path | None = None,
    tick: Tick = lambda doing: None,
) -> dict[str, Any]:  # fmt: skip
    """Prove on a sample of about ``requests`` requests that no feature before the cut knows what comes after it.

    ``scratch`` is where the copies are made and removed again, a temporary folder of this machine by default. Raises
    LeakError if a feature moved or the trial had no power, MissingDataError or UsageError if there is too little data.
    """
    if cut_ds not in days:
        raise UsageError(f"--cut {cut_ds} is not one of the days {days}: rows before and after it are needed")
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="prerank-leaks-", dir=scratch) as folder:
        trial = prepared(lake, config, days, cut_ds, seed, requests, Path(folder).absolute(), tick)
        verdict, rows = tried(lake, trial, tick)
        verdict.require_no_leak()
        tick("joining interactions of the rows' own days, as a careless join would")
        figures = alone(rows, *_naive(lake, trial))
    return {
        "days": str(days),
        "cut": cut_ds,
        "seed": seed,
        "sample": vars(trial.sample),
        "changed": trial.changed,
        **verdict.plain(),
        **figures,
    }


def tried(lake: Lake, trial: Trial, tick: Tick) -> tuple[Verdict, Opened]:
    """Export both lakes and compare; also the rows of the true one."""
    both = []
    for name in (TRUE, OTHER):
        tick(f"exporting {trial.days} ({name})")
        out = trial.folder / f"{name}-export"
        export_training_data(trial.lake(lake, name), trial.configured(name), trial.days, out)
        both.append(opened(out))
    found = ds.dataset(trial.requests, format="parquet").to_table()
    marks = Marks(*(found[name].to_numpy() for name in ("request", "before", "whole")))
    return judged(both[0], both[1], marks), both[0]


def _naive(lake: Lake, trial: Trial) -> tuple[Ints, npt.NDArray[np.object_], npt.NDArray[Any]]:
    """(N,) requests, (N,) item ids and (N, C) cross features of the careless join."""
    path = trial.folder / "naive"
    naive_cross(trial.lake(lake, TRUE), trial.configured(TRUE), trial.days).write.parquet(file_uri(path))
    table = ds.dataset(path, format="parquet").to_table()
    cross = np.stack(table["cross"].to_numpy()) if len(table) else np.empty((0, 0))
    return table["request"].to_numpy(), np.array(table["item_id"].to_pylist(), dtype=object), cross
