"""How far the cross features of a day's impressions have moved from a baseline day's."""

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.backoff import backoff_of
from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, ranges_of, shift_ds
from etl.contract.statistics import psi
from etl.cross import cross_names, needs_backoff, with_cross
from etl.definitions import definition_hash
from etl.lake import Lake
from etl.negatives import as_of
from etl.operations.coverage import impressions
from etl.plan import read_history
from etl.quality.statistics import edges_of, shares_of
from etl.query_windows import AS_OF

Sample = npt.NDArray[np.float32]

# A power of two, fine enough for one row in a billion.
_SLICES = 1 << 30


def drift_by_day(lake: Lake, config: EtlConfig, baselines: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """ds -> PSI by cross feature against the baseline day of each ds, over the baseline's own bins.

    A day is left out where it or its baseline has no impressions, or no interactions of the present definition.
    """
    samples = cross_samples(lake, config, {*baselines, *baselines.values()})
    return {
        ds: feature_psi(samples[baseline], samples[ds], cross_names(config))
        for ds, baseline in baselines.items()
        if ds in samples and baseline in samples
    }


def feature_psi(baseline: Sample, day: Sample, names: list[str]) -> dict[str, float]:
    """PSI of each column of two samples (S, F)."""
    found = {}
    for column, name in enumerate(names):
        edges = edges_of(baseline[:, column])
        found[name] = psi(shares_of(baseline[:, column], edges), shares_of(day[:, column], edges))
    return found


def cross_samples(lake: Lake, config: EtlConfig, days: Collection[str]) -> dict[str, Sample]:
    """ds -> cross features (S, F) of about ``monitor.sample_rows`` impressions, the same ones each time."""
    before = -1 - config.interactions.lag_days
    history = read_history(lake, (c.EVENTS, c.INTERACTIONS))
    current = definition_hash(c.INTERACTIONS, config)
    seen = {ds for ds, built in history[c.INTERACTIONS].items() if built.definition_hash == current}
    usable = [ds for ds in days if ds in history[c.EVENTS] and shift_ds(ds, before) in seen]
    samples: dict[str, Sample] = {}
    for span in ranges_of(usable):
        for chunk in span.chunks(config.interactions.days_per_job):
            samples |= _samples(lake, config, chunk)
    return samples


def _samples(lake: Lake, config: EtlConfig, days: DateRange) -> dict[str, Sample]:
    seen = days.shift(-1 - config.interactions.lag_days)
    shown = _sampled(impressions(lake.read(c.EVENTS, days), config), config.monitor.sample_rows)
    rows = shown.select("ds", "query_key", "item_id", "segments").withColumn(AS_OF, as_of(config.interactions.lag_days))
    backoff = backoff_of(lake, seen, config) if needs_backoff(config) else None
    crossed = with_cross(rows, lake.read(c.INTERACTIONS, seen), config, backoff).select("ds", "cross")
    table = crossed.toArrow()
    width = len(cross_names(config))
    held = np.array(table["ds"].to_pylist())
    values = table["cross"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(held), width)
    return {str(ds): values[held == ds] for ds in np.unique(held)}


def _sampled(shown: DataFrame, rows: int) -> DataFrame:
    """About so many impressions of each day, picked by a hash of their event_id; all where there are fewer."""
    counts = {row.ds: row["count"] for row in shown.groupBy("ds").count().toLocalIterator()}
    limits = [value for ds, count in counts.items() for value in (F.lit(ds), F.lit(min(1.0, rows / count)))]
    if not limits:
        return shown
    share = F.create_map(*limits)[F.col("ds")]
    return shown.where(F.pmod(F.xxhash64("event_id"), F.lit(_SLICES)) < share * _SLICES)
