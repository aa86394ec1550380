"""A trial of leaks: two scratch lakes of one slice, one as it is, one with everything after the cut changed."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.caching import Cached
from etl.catalogues import GRAIN
from etl.config import EtlConfig, LakeConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.contract.paths import file_uri
from etl.interactions import build_interactions
from etl.lake import Lake
from etl.leaks.cuts import CHANGES, marked_requests, with_cuts
from etl.leaks.perturb import CHANGE, DUPLICATED, INSERTED, SHUFFLED, UNTOUCHED, other_catalogue, perturbed
from etl.leaks.slices import (
    CATALOGUES,
    REQUEST_DAYS,
    Sample,
    Snapshots,
    described,
    needed_days,
    sampled,
    snapshots_seen,
    write_slice,
    written_days,
)
from etl.plan import require_source

Tick: TypeAlias = Callable[[str], None]
"""Told what is being done."""

#: The two lakes, by the folders that they stand in.
TRUE, OTHER = "as-it-is", "another-future"
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

    @property
    def requests(self) -> Path:
        """Parquet files: which requests lie before the cut (see etl.leaks.cuts.marked_requests)."""
        return self.folder / "requests"

    def lake(self, lake: Lake, name: str) -> Lake:
        return Lake(lake.spark, str(self.folder / name))

    def configured(self, name: str) -> EtlConfig:
        return dataclasses.replace(self.config, lake=LakeConfig(root=str(self.folder / name)))


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
        seen = marked.where(F.col("ds") >= shift_ds(days.start, -REQUEST_DAYS))
        marked_requests(seen).write.parquet(file_uri(trial.requests))
        other = keep(perturbed(marked, cut_ds, days, config.engagement_actions, seed))
        true, false = _catalogues(lake, needed, lag, events, cut_ds)
        spans = written_days(lake, needed)
        for name, frame, catalogues in ((TRUE, events, true), (OTHER, other.drop(CHANGE), false)):
            write_slice(trial.lake(lake, name), trial.configured(name), frame, spans, catalogues)
        changed = _changed(marked, other, false, cut_ds)
    for name in (TRUE, OTHER):
        tick(f"building interactions of {built} ({name})")
        build_interactions(trial.lake(lake, name), trial.configured(name), built)
    return dataclasses.replace(trial, changed=changed)


def _plain(config: EtlConfig) -> EtlConfig:
    """The user's configuration with nothing held out, and fewer commits: a sample is small."""
    interactions = dataclasses.replace(config.interactions, days_per_job=_DAYS_PER_JOB)
    export = dataclasses.replace(config.export, validation_days=0, test_days=0)
    return dataclasses.replace(config, interactions=interactions, export=export)


def _catalogues(
    lake: Lake, needed: DateRange, lag_days: int, events: DataFrame, cut_ds: str
) -> tuple[dict[str, Snapshots], dict[str, Snapshots]]:
    """The catalogues that the slice sees, as they are and with another future."""
    true, other = {}, {}
    for table in CATALOGUES:
        held = snapshots_seen(lake, table, needed, lag_days)
        if held:
            ids = events.select(*GRAIN[table]).distinct()
            frame = lake.read(table, DateRange(held[0], held[-1])).join(ids, list(GRAIN[table]), "left_semi")
            true[table] = frame, held
            other[table] = other_catalogue(frame, held, cut_ds), sorted({*held, cut_ds})
    return true, other


def _changed(marked: DataFrame, other: DataFrame, catalogues: Mapping[str, Snapshots], cut_ds: str) -> dict[str, int]:
    counts = {row[CHANGE]: row["count"] for row in other.groupBy(CHANGE).count().toLocalIterator()}
    [true] = marked.agg(F.count(F.lit(1)).alias("events"), F.count_if(CHANGES).alias("after")).toLocalIterator()
    stayed = counts.get(UNTOUCHED, 0) + counts.get(SHUFFLED, 0)
    changed = {"after_cut": true.after, "dropped": true.events - stayed}
    changed |= {kind: counts.get(kind, 0) for kind in (SHUFFLED, DUPLICATED, INSERTED)}
    anew = {table: frame.where(F.col("ds") >= cut_ds).count() for table, (frame, _) in catalogues.items()}
    return changed | {f"{table}_described_anew": rows for table, rows in anew.items()}
