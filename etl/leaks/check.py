"""The job behind ``prerank check --leaks``.

Two scratch lakes hold the same slice of the user's lake: one as it is, one with everything after the cut changed
(etl.leaks.cuts, etl.leaks.perturb). Interactions are built and an export is made in both, with the user's
configuration; then no feature of a row before the cut may differ, and features of rows after it must, or the trial
proves nothing.
"""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow.dataset as ds
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.caching import Cached
from etl.catalogues import GRAIN
from etl.config import EtlConfig, LakeConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.contract.errors import UsageError
from etl.export import export_training_data
from etl.interactions import build_interactions
from etl.lake import Lake
from etl.leaks.cuts import CHANGES, marked_requests, with_cuts
from etl.leaks.naive import naive_cross
from etl.leaks.opened import Opened, opened
from etl.leaks.perturb import CHANGE, DUPLICATED, INSERTED, SHUFFLED, UNTOUCHED, other_catalogue, perturbed
from etl.leaks.slices import (
    CATALOGUES,
    Sample,
    catalogue_of,
    described,
    needed_days,
    sampled,
    write_slice,
    written_days,
)
from etl.leaks.verdict import Marks, Verdict, alone, judged
from etl.plan import require_source

Tick: TypeAlias = Callable[[str], None]
"""Told what is being done."""

_TRUE, _OTHER = "lake", "other-lake"
_DAYS_PER_JOB = 32


@dataclasses.dataclass(frozen=True)
class Trial:
    """Two lakes that differ after the cut only, in one scratch folder, with their interactions built."""

    folder: Path
    config: EtlConfig
    """The user's, but for the lake, and with nothing held out: rows of all days are compared."""
    days: DateRange
    sample: Sample
    changed: dict[str, int]
    """Rows by kind of change."""

    def configured(self, lake: str) -> EtlConfig:
        return dataclasses.replace(self.config, lake=LakeConfig(root=str(self.folder / lake)))


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


def prepared(
    lake: Lake, config: EtlConfig, days: DateRange, cut_ds: str, seed: int, requests: int, folder: Path, tick: Tick
) -> Trial:
    """Copy and change the slice, and build the interactions of both lakes."""
    lag = config.interactions.lag_days
    # Rows read the day before theirs; the careless join reads their own.
    built = days.widen(before=1 + lag)
    require_source(lake, c.EVENTS, built)
    plain = _plain(config)
    needed = needed_days(days, config)
    with Cached() as keep:
        tick("copying a slice of the lake")
        events, share = sampled(lake, days, requests, seed)
        events = keep(events.where(F.col("ds").between(needed.start, needed.end)))
        trial = Trial(folder, plain, days, described(events, days, share), {})
        marked = keep(with_cuts(events, cut_ds, seed))
        marked_requests(marked).write.parquet((folder / "requests").as_uri())
        other = keep(perturbed(marked, cut_ds, days, config.engagement_actions, seed))
        true, false = _catalogues(lake, needed, lag, events, cut_ds)
        spans = written_days(lake, needed)
        for name, frame, catalogues in ((_TRUE, events, true), (_OTHER, other.drop(CHANGE), false)):
            write_slice(_lake(lake, trial, name), trial.configured(name), frame, spans, catalogues)
        changed = _changed(marked, other, false, cut_ds)
    for name in (_TRUE, _OTHER):
        tick(f"building interactions of {built} ({'as it is' if name == _TRUE else 'with another future'})")
        build_interactions(_lake(lake, trial, name), trial.configured(name), built)
    return dataclasses.replace(trial, changed=changed)


def tried(lake: Lake, trial: Trial, tick: Tick) -> tuple[Verdict, Opened]:
    """Export both lakes and compare; also the rows of the true one."""
    both = []
    for name in (_TRUE, _OTHER):
        tick(f"exporting {trial.days} ({'as it is' if name == _TRUE else 'with another future'})")
        out = trial.folder / f"{name}-export"
        export_training_data(_lake(lake, trial, name), trial.configured(name), trial.days, out)
        both.append(opened(out))
    found = ds.dataset(trial.folder / "requests", format="parquet").to_table()
    marks = Marks(*(found[name].to_numpy() for name in ("request", "before", "whole")))
    return judged(both[0], both[1], marks), both[0]


def _plain(config: EtlConfig) -> EtlConfig:
    """The user's configuration with nothing held out, and fewer commits: a sample is small."""
    interactions = dataclasses.replace(config.interactions, days_per_job=_DAYS_PER_JOB)
    export = dataclasses.replace(config.export, validation_days=0, test_days=0)
    return dataclasses.replace(config, interactions=interactions, export=export)


def _lake(lake: Lake, trial: Trial, name: str) -> Lake:
    return Lake(lake.spark, str(trial.folder / name))


def _catalogues(
    lake: Lake, needed: DateRange, lag_days: int, events: DataFrame, cut_ds: str
) -> tuple[dict[str, DataFrame], dict[str, DataFrame]]:
    """The catalogues that the slice sees, as they are and with another future."""
    true, other = {}, {}
    for table in CATALOGUES:
        frame = catalogue_of(lake, table, needed, lag_days, events.select(*GRAIN[table]).distinct())
        if frame is not None:
            held = [row.ds for row in frame.select("ds").distinct().toLocalIterator()]
            true[table] = frame
            other[table] = other_catalogue(frame, held, cut_ds) if held else frame
    return true, other


def _changed(marked: DataFrame, other: DataFrame, catalogues: dict[str, DataFrame], cut_ds: str) -> dict[str, int]:
    counts = {row[CHANGE]: row["count"] for row in other.groupBy(CHANGE).count().toLocalIterator()}
    stayed = counts.get(UNTOUCHED, 0) + counts.get(SHUFFLED, 0)
    changed = {"after_cut": marked.where(CHANGES).count(), "dropped": marked.count() - stayed}
    changed |= {kind: counts.get(kind, 0) for kind in (SHUFFLED, DUPLICATED, INSERTED)}
    described = {table: frame.where(F.col("ds") >= cut_ds).count() for table, frame in catalogues.items()}
    return changed | {f"{table}_described_anew": rows for table, rows in described.items()}


def _naive(lake: Lake, trial: Trial) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) requests, (N,) item ids and (N, C) cross features of the careless join."""
    path = trial.folder / "naive"
    naive_cross(_lake(lake, trial, _TRUE), trial.configured(_TRUE), trial.days).write.parquet(path.as_uri())
    table = ds.dataset(path, format="parquet").to_table()
    cross = np.stack(table["cross"].to_numpy()) if len(table) else np.empty((0, 0))
    return table["request"].to_numpy(), np.array(table["item_id"].to_pylist(), dtype=object), cross
