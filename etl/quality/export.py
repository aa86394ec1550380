"""The gate of an export: its files, read as a trainer would read them, before the manifest makes them an export."""

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from etl.config import EtlConfig
from etl.contract.manifest import SPLITS, Manifest
from etl.quality.gate import gate
from etl.quality.profiles import Profile
from etl.quality.suites import EXPORT


def check_export(
    directory: Path, manifest: Manifest, splits: Mapping[str, str], expected_rows: int, config: EtlConfig
) -> None:
    """Raise GateError if a split is empty, a row was lost, or a row breaks a promise (see etl.quality.suites).

    ``splits`` says which split each ds belongs to; ``expected_rows`` is the number of (request, item) pairs, counted
    apart from the joins that made the rows.
    """
    gate(EXPORT, export_profile(directory, manifest, set(splits.values()), expected_rows), config)


def export_profile(directory: Path, manifest: Manifest, wanted: Collection[str], expected_rows: int) -> Profile:
    """One row per split, and one for the whole, under the column ``ds`` that every profile is keyed by."""
    histories = pq.read_table(directory / "histories.parquet", columns=["ts"])["ts"].combine_chunks()
    figures = {split: Counter[str]() for split in SPLITS}
    for shard in manifest.shards:
        table = pq.read_table(directory / shard.path, partitioning=None)
        figures[shard.split].update(_shard_figures(table, histories, manifest))
    by_split: Profile = [{"ds": split, "rows": 0, **figures[split]} for split in SPLITS if split in wanted]
    whole = {"ds": "all splits", "rows": manifest.rows, "lost_rows": expected_rows - manifest.rows}
    return [*by_split, whole]


def _shard_figures(table: pa.Table, histories: pa.ListArray, manifest: Manifest) -> dict[str, int]:
    labels = pc.list_flatten(table["labels"]).to_numpy()
    cross = pc.list_flatten(table["cross"])
    widths = len(table) * len(manifest.cross) - len(cross)
    pairs = np.stack([table["request"].to_numpy(), table["item"].to_numpy().astype(np.int64)])
    return {
        "rows": len(table),
        "repeated_rows": len(table) - np.unique(pairs, axis=1).shape[1],
        "bad_labels": int(np.count_nonzero((labels != 0) & (labels != 1))),
        "bad_cross": abs(widths) + cross.null_count + int(np.count_nonzero(~np.isfinite(cross.to_numpy()))),
        "future_history": _rows_that_see_the_future(table, histories),
    }


def _rows_that_see_the_future(table: pa.Table, histories: pa.ListArray) -> int:
    """Rows whose last visible action is not strictly before their request, or whose history is shorter than said."""
    ends, users = table["history_end"].to_numpy().astype(np.int64), table["user"].to_numpy()
    starts = histories.offsets.to_numpy().astype(np.int64)
    times = histories.values.to_numpy()
    too_long = ends > starts[users + 1] - starts[users]
    seen = (ends > 0) & ~too_long
    last = times[(starts[users] + ends - 1)[seen]]
    return int(np.count_nonzero(too_long) + np.count_nonzero(last > table["ts"].to_numpy()[seen]))
