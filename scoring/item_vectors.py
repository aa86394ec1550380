"""The table ``item_vectors`` and the matrix made from it: what a model makes of each item of a catalogue snapshot.

A snapshot is embedded once per model version. Of a new one, only items whose features changed go through the tower.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.contract.settings import config_hash
from etl.lake import Lake
from etl.recovery import record_lost_commits
from etl.runs import Run
from etl.write import Output, replace_partitions
from models.features import FeatureSpec
from models.model_dir import LoadedModel, load
from scoring.config import PrerankConfig
from scoring.embed import SCHEMA, embed_items
from scoring.item_matrix import ItemMatrix, MatrixManifest, MatrixPart, open_matrix, read_manifest, write_matrix
from scoring.resource_profiles import in_own_stage, scoring_profile
from scoring.seen import catalogue_day, day_seen, described_catalogue

_FEATURES = ("text", "categories", "numerics", "dense")
#: Bytes of vectors that come to the driver at once.
_COLLECTED_BYTES = 256 * 2**20


@dataclass(frozen=True)
class EmbedReport:
    ds: str
    model: str
    model_version: str
    as_of: str
    """The catalogue snapshot that ``ds`` is scored with."""
    items: int
    embedded: int
    """Items that went through the tower; the others kept their vectors of an earlier day."""
    shards: int
    folder: str
    """The matrix."""


def embed_catalogue(lake: Lake, config: PrerankConfig, ds: str, model_dir: Path) -> EmbedReport:
    """Vectors of the catalogue that ``ds`` is scored with, in ``item_vectors`` and as a matrix; nothing that is there
    already is made again. Raises MissingDataError without a catalogue.
    """
    loaded = load(model_dir)
    matrix, embedded = current_matrix(lake, config, ds, model_dir, loaded, in_table=True)
    made = matrix.manifest
    folder = matrix_folder(config, made.model_version, made.as_of)
    return EmbedReport(
        ds, loaded.card.name, made.model_version, made.as_of, made.rows, embedded, len(made.shard_rows), str(folder)
    )


def current_matrix(
    lake: Lake, config: PrerankConfig, ds: str, model_dir: Path, loaded: LoadedModel, in_table: bool = False
) -> tuple[ItemMatrix, int]:
    """The matrix that ``ds`` is scored with, made if it is not there; and how many items were embedded for it.

    A matrix serves without the table that it came from, which may be another lake's: ``in_table`` asks for that of
    ``lake`` too.
    """
    as_of = catalogue_day(lake, day_seen(config, ds))
    version = loaded.card.version
    folder = matrix_folder(config, version, as_of)
    described = hashed_catalogue(lake, as_of, loaded.card.spec)
    made, source = read_manifest(folder), lake.stamp(c.ITEMS)
    # Of the same state of the table, nobody has to read the whole catalogue to know it again.
    wanted = made.digest if made is not None and made.source == source else snapshot_digest(described)
    held = made is not None and (not in_table or _held_rows(lake, as_of, version) == made.rows)
    if made is not None and held and _is_current(made, version, wanted, config):
        return open_matrix(folder), 0
    embedded = _embed(lake, config, as_of, model_dir, loaded, described, wanted)
    vectors = held_vectors(lake, as_of, version)
    return _write_matrix(vectors, config, folder, (version, as_of, wanted), source), embedded


def matrix_folder(config: PrerankConfig, model_version: str, as_of: str) -> Path:
    """Where the matrix of a snapshot lies; absolute, as workers have a working folder of their own."""
    return Path(config.score.vectors_root).expanduser().absolute() / model_version / as_of


def hashed_catalogue(lake: Lake, as_of: str, spec: FeatureSpec) -> DataFrame:
    """(item_id, text, categories, numerics, dense, feature_hash) of a snapshot, as a model reads it."""
    return described_catalogue(lake, as_of, spec).withColumn("feature_hash", F.xxhash64(*_FEATURES))


def snapshot_digest(items: DataFrame) -> str:
    """Of item ids and the hashes of their features, in any order."""
    whole = F.xxhash64("item_id", "feature_hash")
    [row] = items.agg(F.count(F.lit(1)).alias("rows"), F.bit_xor(whole).alias("all")).toLocalIterator()
    return f"{row.rows}-{(row.all or 0) % 2**64:016x}"


def held_vectors(lake: Lake, as_of: str, version: str) -> DataFrame:
    """The rows of ``item_vectors`` of one snapshot and one model version."""
    return lake.read(c.ITEM_VECTORS, DateRange(as_of, as_of)).where(F.col("model_version") == version)


def _held_rows(lake: Lake, as_of: str, version: str) -> int:
    return held_vectors(lake, as_of, version).count() if lake.exists(c.ITEM_VECTORS) else 0


def _embed(
    lake: Lake, config: PrerankConfig, as_of: str, model_dir: Path, loaded: LoadedModel, described: DataFrame,
    wanted: str,
) -> int:  # fmt: skip
    """Bring ``item_vectors`` up to date; returns how many items were embedded."""
    version = loaded.card.version
    earlier = _newest(lake, as_of, version)
    if earlier is not None and earlier == as_of and snapshot_digest(held_vectors(lake, as_of, version)) == wanted:
        record_lost_commits(lake, (c.ITEM_VECTORS,))
        return 0
    changed, carried = described, None
    if earlier is not None:
        known = held_vectors(lake, earlier, version).select(*(name.split()[0] for name in SCHEMA.split(", ")))
        key = ["item_id", "feature_hash"]
        carried = described.select(*key).join(known, key)
        changed = described.join(known.select(*key), key, "left_anti")
    profile, counted = scoring_profile(config, lake.spark), Observation()
    changed = in_own_stage(changed, profile, lake.tasks, "item_id")
    fresh = embed_items(changed, str(model_dir.absolute()), loaded.card, config.score.device, profile)
    fresh = fresh.observe(counted, F.count(F.lit(1)).alias("rows"))
    vectors = fresh if carried is None else fresh.unionByName(carried)
    vectors = vectors.select(F.lit(as_of).alias("ds"), F.lit(version).alias("model_version"), "*")
    run = Run(job="embed", config_hash=config_hash(config), definition_hash=version, inputs=dict(lake.pinned),
              source=str(model_dir.absolute()))  # fmt: skip
    day = DateRange(as_of, as_of)
    output = Output(c.ITEM_VECTORS, vectors, day, ("model_version", "item_id"), only={"model_version": version})
    replace_partitions(lake, [output], run)
    return int(counted.get["rows"])


def _newest(lake: Lake, as_of: str, version: str) -> str | None:
    """The newest day, not after ``as_of``, that holds vectors of a model version."""
    if not lake.exists(c.ITEM_VECTORS):
        return None
    found = lake.read(c.ITEM_VECTORS).where((F.col("model_version") == version) & (F.col("ds") <= as_of))
    [row] = found.agg(F.max("ds").alias("ds")).toLocalIterator()
    return row.ds


def _is_current(made: MatrixManifest, version: str, wanted: str, config: PrerankConfig) -> bool:
    """Whether a matrix is of this model and snapshot, and split as the configuration says."""
    shards = -(-made.rows // _rows_in(config.score.shard_mb * 2**20, made.width))
    return (made.model_version, made.digest, len(made.shard_rows)) == (version, wanted, shards)


def _rows_in(size: int, width: int) -> int:
    return max(1, size // (4 * max(width, 1)))


def _write_matrix(
    vectors: DataFrame, config: PrerankConfig, folder: Path, stamp: tuple[str, str, str], source: str
) -> ItemMatrix:
    """From the table, a few hundred MB at a time, to files of the driver's own."""
    ids = vectors.select("item_id").toArrow()["item_id"].combine_chunks().sort()
    [width] = [len(row.vector) for row in vectors.select("vector").limit(1).toLocalIterator()] or [0]
    rows = _rows_in(_COLLECTED_BYTES, width)

    def parts() -> Iterator[MatrixPart]:
        for low in range(0, len(ids), rows):
            high = min(low + rows, len(ids)) - 1
            inside = F.col("item_id").between(ids[low].as_py(), ids[high].as_py())
            columns = ("item_id", F.xxhash64("item_id").alias("hash"), "vector", "buckets")
            yield _part(vectors.where(inside).select(*columns).toArrow().sort_by("item_id").combine_chunks())

    shard = _rows_in(config.score.shard_mb * 2**20, width)
    return write_matrix(folder, parts(), len(ids), width, shard, stamp, source)


def _part(table: pa.Table) -> MatrixPart:
    def rows_of(name: str) -> Any:
        return table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)

    return MatrixPart(
        table["item_id"].combine_chunks(),
        table["hash"].to_numpy(),
        rows_of("buckets").astype(np.int32),
        rows_of("vector").astype(np.float32),
    )
