"""The profile of ``interactions``, one pass over their tables in the workers (see etl.exchange)."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.exchange import Tasks, by_hash, gathered, rows_of, scattered, unchanged
from etl.kernels.codes import codes_of
from etl.windows import family_columns

_FIGURES = ("rows", "repeated_keys", "bad_shares", "negative_values", "unnested_windows", "thin_rows")


def profile_of_rows(rows: DataFrame, config: EtlConfig) -> DataFrame:
    """As ``profile_of_tables``, of rows that lie anywhere."""
    tasks = Tasks.of(int(rows.sparkSession.conf.get("spark.sql.shuffle.partitions") or 1), rows.count())
    spread = scattered(rows, by_hash(tasks.buckets, *c.PAIR_KEY))
    return profile_of_tables(gathered(spread, unchanged, tasks), config)


def profile_of_tables(tables: DataFrame, config: EtlConfig) -> DataFrame:
    """(ds) -> rows, and how many of them break which promise; equal keys stand in one table."""

    def judge(table: pa.Table) -> Iterable[tuple[int, pa.Table]]:
        return [(0, figures_of(table, config))]

    counted = rows_of(tables, {"ds": "string"} | dict.fromkeys(_FIGURES, "bigint"), judge)
    return counted.groupBy("ds").agg(*(F.sum(name).alias(name) for name in _FIGURES)).orderBy("ds")


def figures_of(table: pa.Table, config: EtlConfig) -> pa.Table:
    """One row per ds."""
    settings, windows = config.interactions, sorted(config.interactions.windows_days)
    ds, days = codes_of(table["ds"])
    rows = table.num_rows
    values = [name for family in ("cnt", "rate", "decay", "coec") for name in family_columns(family, config)]
    shares = [name for family in ("share", "fresh") for name in family_columns(family, config)]
    nested = [(c.window_count(action, short), c.window_count(action, long)) for action in config.events.actions
              for short, long in pairwise(windows)] if "cnt" in settings.families else []  # fmt: skip
    broken = {
        "rows": np.ones(rows, dtype=bool),
        "repeated_keys": _repeated(table),
        "bad_shares": _any(rows, (~((_numbers(table, name) >= 0) & (_numbers(table, name) <= 1)) for name in shares)),
        "negative_values": _any(rows, (~(_numbers(table, name) >= 0) for name in values)),
        "unnested_windows": _any(rows, (_numbers(table, short) > _numbers(table, long) for short, long in nested)),
        "thin_rows": np.zeros(rows, dtype=bool),
    }
    if "users" in settings.families:
        broken["thin_rows"] = _numbers(table, c.window_users(settings.longest_days)) < settings.min_users
    counts = {name: np.bincount(ds, weights=rows_, minlength=len(days)) for name, rows_ in broken.items()}
    return pa.table({"ds": days} | {name: pa.array(count.astype(np.int64)) for name, count in counts.items()})


def _numbers(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """(N,); NaN, which no comparison holds of, for null."""
    return table[name].to_numpy()


def _any(rows: int, conditions: Iterable[npt.NDArray[np.bool_]]) -> npt.NDArray[np.bool_]:
    result = np.zeros(rows, dtype=bool)
    for condition in conditions:
        result |= condition
    return result


def _repeated(table: pa.Table) -> npt.NDArray[np.bool_]:
    """(N,) rows whose key an earlier row has."""
    key = np.zeros(table.num_rows, dtype=np.int64)
    for name in ("ds", *c.PAIR_KEY):
        code, values = codes_of(table[name])
        key = key * len(values) + code
    again = np.ones(table.num_rows, dtype=bool)
    again[np.unique(key, return_index=True)[1]] = False
    return again
