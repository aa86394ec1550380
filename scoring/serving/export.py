"""The job of ``export-serving``: a model and what requests of a day may know, as files that an online server loads."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from etl.arrow_files import arrow_type
from etl.backoff import Backoff, backoff_of
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.contract.publish import published_directory
from etl.lake import Lake
from etl.plan import require_current
from etl.query_items import can_rank
from models.contract import Ranker
from models.fusion import LinearFusionRanker
from models.model_dir import LoadedModel, load
from scoring.config import PrerankConfig
from scoring.folded import CrossPlan
from scoring.item_matrix import ItemMatrix
from scoring.item_vectors import current_matrix
from scoring.seen import catalogue_day, day_seen, require_same_features
from scoring.serving.contract import fusion_contract, hashing_contract, rates_contract, rates_read
from scoring.serving.parquet_files import write_batches, write_sorted
from scoring.serving.programs import write_programs
from scoring.serving.tables import FOLDED, KEY, UNSEEN, folded_rows, query_rows, raw_columns, raw_rows, word_rows

MANIFEST = "manifest.json"
ITEMS, INTERACTIONS, QUERIES, WORDS = "items.parquet", "interactions.parquet", "queries.parquet", "words.parquet"
FORMAT_VERSION = 1
#: A look-up reads one or two groups: a few hundred kilobytes.
GROUP_ROWS = 16_384

_COUNTS = "list<int64>"
_KEY_KINDS = dict.fromkeys(KEY, "string")


@dataclass(frozen=True)
class ServingReport:
    out: str
    model: str
    model_version: str
    ds: str
    as_of: str
    """The day whose interactions and best items are in it."""
    catalogue: str
    """The day of its items."""
    rows: dict[str, int]
    """By file."""
    megabytes: float
    digest: str
    """The SHA-256 of the manifest, for a server to pin: it holds that of every file."""


@dataclass(frozen=True)
class _Job:
    lake: Lake
    config: PrerankConfig
    loaded: LoadedModel
    model_dir: Path
    as_of: str

    @property
    def model(self) -> Ranker:
        return self.loaded.model

    @property
    def day(self) -> DateRange:
        return DateRange(self.as_of, self.as_of)


def export_serving(lake: Lake, config: PrerankConfig, ds: str, model_dir: Path, out: Path) -> ServingReport:
    """Write what a server needs for requests of ``ds`` to ``out``, replacing an earlier export when it is whole.

    Raises MissingDataError for a missing table or day, ScoringError if model and lake do not fit together or a program
    does not say what the model says, UsageError if ``out`` holds something else.
    """
    loaded, as_of = load(model_dir), day_seen(config, ds)
    require_same_features(loaded, config)
    snapshot = catalogue_day(lake, as_of)
    job = _Job(lake, config, loaded, model_dir, as_of)
    if loaded.model.cross_read():
        require_current(lake, config, c.INTERACTIONS, job.day)
    with published_directory(out, MANIFEST, "programs") as aside:
        programs = write_programs(loaded.model, loaded.card.spec, aside)
        backoff, rates = _rates(job)
        rows = {ITEMS: _write_items(job, ds, aside / ITEMS)}
        rows |= _write_interactions(job, [cell["column"] for cell in rates["cells"]] if rates else [], aside)
        rows |= _write_queries(job, backoff, aside)
        files = {name: _described(aside / name, rows.get(name)) for name in sorted((*programs, *rows))}
        manifest = {
            "format_version": FORMAT_VERSION,
            "model": {"name": loaded.card.name, "version": loaded.card.version},
            "ds": ds,
            "as_of": as_of,
            "catalogue": snapshot,
            "tables": dict(lake.pinned),
            "heads": dict(zip(loaded.card.spec.heads, loaded.model.head_weights.tolist(), strict=True)),
            "programs": {name: asdict(signature) for name, signature in programs.items()},
            "fusion": fusion_contract(loaded.model),
            "rates": rates,
            "features": hashing_contract(loaded.card.spec, loaded.card.data.get("history_days")),
            "files": files,
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
        whole = f"{text}\n".encode()
        (aside / MANIFEST).write_bytes(whole)
    size = sum(file["bytes"] for file in files.values())
    version, digest = loaded.card.version, hashlib.sha256(whole).hexdigest()
    return ServingReport(str(out), loaded.card.name, version, ds, as_of, snapshot, rows, round(size / 1e6, 1), digest)


def _rates(job: _Job) -> tuple[Backoff | None, dict[str, Any] | None]:
    """What rates of pairs without a row are found from, if the model reads any that are not always 0."""
    cells = rates_read(job.model, job.config)
    if not cells or c.IMPRESSION not in job.config.events.actions:
        return None, None
    backoff = backoff_of(job.lake, job.day, job.config)
    return backoff, rates_contract(cells, backoff.priors, job.as_of, job.config)


def _write_items(job: _Job, ds: str, path: Path) -> int:
    """From the matrix, which batch scoring reads too: its items are in the order of their ids."""
    matrix, _ = current_matrix(job.lake, job.config, ds, job.model_dir, job.loaded)
    kinds = {"item_id": "string", "vector": "list<float32>", "buckets": "list<int32>"}
    schema = pa.schema([(name, arrow_type(kind)) for name, kind in kinds.items()])
    return write_batches(_item_batches(matrix, schema), schema, path, GROUP_ROWS)


def _item_batches(matrix: ItemMatrix, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for start, shard in zip(matrix.starts, matrix.shards, strict=False):
        for low in range(0, len(shard), GROUP_ROWS):
            vectors = shard[low : low + GROUP_ROWS]
            rows = slice(start + low, start + low + len(vectors))
            columns = [matrix.ids[rows], _lists(vectors), _lists(matrix.buckets[rows])]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def _lists(rows: npt.NDArray[Any]) -> pa.ListArray:
    """(n, width) as n lists."""
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.ravel()))


def _write_interactions(job: _Job, rates: list[str], folder: Path) -> dict[str, int]:
    names = job.model.cross_read()
    if not names:
        return {}
    interactions = job.lake.read(c.INTERACTIONS, job.day)
    if isinstance(job.model, LinearFusionRanker):
        rows = folded_rows(interactions, CrossPlan.for_model(job.model, names), rates)
        kinds = {**_KEY_KINDS, FOLDED: "float64"} | ({UNSEEN: "list<float64>"} if rates else {})
    else:
        rows = raw_rows(interactions, names)
        kinds = _KEY_KINDS | dict.fromkeys(raw_columns(names), "float32")
    return {INTERACTIONS: write_sorted(rows, KEY, kinds, folder / INTERACTIONS, GROUP_ROWS)}


def _write_queries(job: _Job, backoff: Backoff | None, folder: Path) -> dict[str, int]:
    best = job.lake.read(c.QUERY_ITEMS, job.day) if can_rank(job.config) else None
    queries = query_rows(best, backoff, job.as_of, job.config)
    written: dict[str, int] = {}
    if queries is not None:
        kinds = {"query_key": "string"} | ({"items": "list<string>"} if best is not None else {})
        kinds |= {"counts": _COUNTS} if backoff is not None else {}
        written[QUERIES] = write_sorted(queries, ["query_key"], kinds, folder / QUERIES, GROUP_ROWS)
    if backoff is not None:
        kinds = {"word": "string", "item_id": "string", "counts": _COUNTS}
        keys = ["word", "item_id"]
        written[WORDS] = write_sorted(word_rows(backoff, job.config), keys, kinds, folder / WORDS, GROUP_ROWS)
    return written


def _described(path: Path, rows: int | None) -> Mapping[str, Any]:
    with path.open("rb") as file:
        found = {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    if rows is None:
        return found
    schema = pq.read_schema(path)
    return {
        **found,
        "rows": rows,
        "row_group_rows": GROUP_ROWS,
        "columns": {field.name: str(field.type) for field in schema},
    }
