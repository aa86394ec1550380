"""The gate of an export: its files, read as a trainer would read them, before the manifest makes them an export."""

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from etl.arrow_files import open_arrow
from etl.config import EtlConfig
from etl.contract.manifest import HISTORIES_FILE, QUERY_ITEMS_FILE, SPLITS, Manifest
from etl.kernels.codes import Ints
from etl.quality.gate import gate
from etl.quality.profiles import Profile
from etl.quality.suites import EXPORT

_ENTRIES_AT_ONCE = 1 << 22


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
    histories = open_arrow(directory / HISTORIES_FILE)
    figures = {split: Counter[str]() for split in SPLITS}
    for shard in manifest.shards:
        table = pq.read_table(directory / shard.path, partitioning=None)
        figures[shard.split].update(_shard_figures(table, histories.column("ts"), manifest))
    by_split: Profile = [{"ds": split, "rows": 0, **figures[split]} for split in SPLITS if split in wanted]
    whole = {
        "ds": "all splits",
        "rows": manifest.rows,
        "lost_rows": expected_rows - manifest.rows,
        "bad_histories": _strangers(histories, "items", manifest.items)
        + _strangers(histories, "actions", len(manifest.actions))
        + _strangers_of_queries(directory, manifest),
    }
    return [*by_split, whole]


def _strangers_of_queries(directory: Path, manifest: Manifest) -> int:
    """The same of queries' best items, where the export knows any."""
    if not manifest.query_items:
        return 0
    return _strangers(open_arrow(directory / QUERY_ITEMS_FILE), "items", manifest.items)


def _strangers(histories: pa.RecordBatch, name: str, limit: int) -> int:
    """Entries of all histories that point outside their table; readers do not look at each again."""
    values = histories.column(name).values.to_numpy()
    return sum(
        int(np.count_nonzero((block < 0) | (block >= limit)))
        for block in np.split(values, range(_ENTRIES_AT_ONCE, len(values), _ENTRIES_AT_ONCE))
    )


def _shard_figures(table: pa.Table, histories: pa.LargeListArray, manifest: Manifest) -> dict[str, int]:
    labels = pc.list_flatten(table["labels"]).to_numpy()
    cross = pc.list_flatten(table["cross"])
    widths = len(table) * len(manifest.cross) - len(cross)
    return {
        "rows": len(table),
        "repeated_rows": _repeated(table["request"].to_numpy(), table["item"].to_numpy()),
        "bad_labels": int(np.count_nonzero((labels != 0) & (labels != 1))),
        "bad_cross": abs(widths) + cross.null_count + int(np.count_nonzero(~np.isfinite(cross.to_numpy()))),
        "future_history": _rows_that_see_the_future(table, histories),
    }


def _repeated(request: Ints, item: npt.NDArray[np.int32]) -> int:
    """Rows (n,) whose request has their item already."""
    order = np.lexsort((item, request))
    request, item = request[order], item[order]
    return int(np.count_nonzero((request[1:] == request[:-1]) & (item[1:] == item[:-1])))


def _rows_that_see_the_future(table: pa.Table, histories: pa.LargeListArray) -> int:
    """Rows whose last visible action is not strictly before their request, or whose history is shorter than said."""
    ends, users = table["history_end"].to_numpy().astype(np.int64), table["user"].to_numpy()
    starts = histories.offsets.to_numpy()
    times = histories.values.to_numpy()
    too_long = ends > starts[users + 1] - starts[users]
    seen = (ends > 0) & ~too_long
    last = times[(starts[users] + ends - 1)[seen]]
    return int(np.count_nonzero(too_long) + np.count_nonzero(last > table["ts"].to_numpy()[seen]))
