"""MovieLens -> an export directory, in the layout of etl.contract.manifest."""

import dataclasses
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from etl.arrow_files import arrow_type, write_columns
from etl.contract import manifest as m
from etl.contract.publish import published_directory
from etl.contract.settings import digest
from etl.movielens.config import MovieLensConfig
from etl.movielens.frame import GENRES, Frame, frame_of, indices, vocabulary
from etl.movielens.protocol import Ints
from etl.movielens.reading import read_movielens
from etl.quality.statistics import summarize

#: The one action, and the one head.
LIKE = "like"
HISTORY_LENGTH = 100


@dataclass(frozen=True)
class MovieLensReport:
    out: str
    protocol: str
    split: str
    rows: dict[str, int]
    """Rows by split."""
    positive_share: dict[str, float]
    items: int
    users: int


def export_movielens(source: Path, out: Path, config: MovieLensConfig) -> MovieLensReport:
    """Write the export, replacing an earlier one, only when it is whole.

    Raises InputError for files that cannot be read, UsageError if a split would stay empty
    or ``out`` holds other files.
    """
    data = read_movielens(source)
    frame = frame_of(data, config)
    with published_directory(out, m.FILE, m.SHARDS) as aside:
        manifest = _write(aside, frame, digest({"config": asdict(config), "input": data.digest}))
        manifest = dataclasses.replace(manifest, statistics=summarize(aside, manifest).statistics)
        manifest.write(aside)
    label = frame.rows.label
    return MovieLensReport(
        out=str(out),
        protocol=config.protocol,
        split=config.split,
        rows={shard.split: shard.rows for shard in manifest.shards},
        positive_share={name: float(label[frame.split == at].mean()) for at, name in enumerate(m.SPLITS)},
        items=manifest.items,
        users=manifest.users,
    )


def _write(out: Path, frame: Frame, config_hash: str) -> m.Manifest:
    days = _days(frame.rows.ts)
    segments = {name: vocabulary(values) for name, values in frame.segments.items()}
    table = _rows(frame, days, segments)
    shards = []
    (out / "rows").mkdir()
    for number, split in enumerate(m.SPLITS):
        part = table.filter(pa.array(frame.split == number))
        pq.write_table(part, out / f"rows/{number:05d}.parquet")
        shards.append(m.Shard(f"rows/{number:05d}.parquet", split, len(part)))
    return m.Manifest(
        start_ds=str(days.min()),
        end_ds=str(days.max()),
        lag_days=0,
        history_length=HISTORY_LENGTH,
        history_days=None,
        heads=(m.Head(LIKE, (LIKE,), 1.0),),
        actions=(LIKE,),
        segments=segments,
        cross=tuple(frame.cross),
        categories=tuple(f"genre_{number + 1}" for number in range(GENRES)),
        numerics=tuple(frame.items.numerics),
        dense=(),
        shards=tuple(shards),
        items=_write_items(out, frame),
        queries=_write_queries(out, frame),
        users=_write_histories(out, frame),
        positives={LIKE: int(frame.rows.label.sum())},
        sources={},
        config_hash=config_hash,
        has_oracle=False,
        splits={name: _ends(days[frame.split == at]) for at, name in enumerate(m.SPLITS)},
    )


def _rows(frame: Frame, days: npt.NDArray[np.datetime64], segments: dict[str, tuple[str, ...]]) -> pa.Table:
    rows, count = frame.rows, len(frame.rows)
    columns = {
        "ds": pa.array(days.astype(str)),
        "ts": rows.ts,
        "request": np.arange(count),
        "query": rows.user,
        "item": frame.item,
        "user": rows.user,
        "history_end": frame.history_end,
        "query_items": np.full(count, -1),
        "position": np.full(count, -1),
        "segments": _lists([indices(values, segments[name]) for name, values in frame.segments.items()], count),
        "labels": _lists([rows.label], count),
        "weight": np.ones(count),
        "cross": _lists(list(frame.cross.values()), count),
        "oracle": np.full(count, np.nan),
    }
    arrays = [pa.array(columns[name]).cast(arrow_type(kind)) for name, kind in m.ROWS.items()]
    return pa.Table.from_arrays(arrays, list(m.ROWS))


def _lists(columns: list[npt.NDArray[np.generic]], rows: int) -> pa.ListArray:
    """Columns (rows,) as one list per row."""
    values = np.stack(columns, axis=1).ravel() if columns else np.zeros(0)
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1) * len(columns), pa.int32()), pa.array(values))


def _write_items(out: Path, frame: Frame) -> int:
    items = frame.items
    numerics = np.stack(list(items.numerics.values()), axis=1) if items.numerics else np.zeros((len(items.ids), 0))
    columns = {
        "item_id": items.ids,
        "text": items.text,
        "categories": items.genres,
        "numerics": list(numerics),
        "dense": [[]] * len(items.ids),
    }
    return write_columns(columns, m.ITEMS, out / m.ITEMS_FILE)


def _write_queries(out: Path, frame: Frame) -> int:
    # A text without words: of an empty one, the key's digits would be read as text.
    columns = {"query_key": frame.users, "text": ["-"] * len(frame.users)}
    return write_columns(columns, m.QUERIES, out / m.QUERIES_FILE)


def _write_histories(out: Path, frame: Frame) -> int:
    seen = frame.histories
    values = {"items": seen.item, "actions": np.zeros(len(seen.item)), "ts": seen.ts}
    columns = {
        name: pa.LargeListArray.from_arrays(
            pa.array(seen.offsets), pa.array(values[name]).cast(arrow_type(kind).value_type)
        )
        for name, kind in m.HISTORIES.items()
    }
    return write_columns(columns, m.HISTORIES, out / m.HISTORIES_FILE)


def _days(ts: Ints) -> npt.NDArray[np.datetime64]:
    """UTC days (n,) of epoch seconds."""
    return ts.astype("datetime64[s]").astype("datetime64[D]")


def _ends(days: npt.NDArray[np.datetime64]) -> tuple[str, str]:
    return str(days.min()), str(days.max())
