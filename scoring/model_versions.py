"""The table ``models``: every decision about a model version, and which version is the champion of a day.

A lake has one champion, whatever its model's name. It is the version that was promoted last on the newest ds not after
the day in question; ``sequence`` orders the decisions of one ds.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.contract.paths import local_path
from etl.contract.settings import config_hash
from etl.lake import Lake
from etl.recovery import record_lost_commits
from etl.runs import Run
from etl.write import Output, replace_partitions
from models.errors import ModelError
from models.version_files import require_version
from scoring.config import PrerankConfig
from scoring.errors import NoChampionError, ScoringError

CHAMPION = "champion"
"""What stands for the champion where a model directory is asked for."""

MOST_DECISIONS = 200

GRAIN = ("model_name", "model_version")
SCHEMA = (
    "ds string, model_name string, model_version string, sequence int, path string, files_digest string, "
    "metrics map<string,double>, trained_start_ds string, trained_end_ds string, trained_config_hash string, "
    "contract_digest string, data string, data_digest string, split string, metric string, rows bigint, "
    "requests bigint, value double, value_low double, value_high double, champion_name string, "
    "champion_version string, champion_value double, difference double, difference_low double, "
    "difference_high double, promoted boolean, forced boolean, reason string"
)


@dataclass(frozen=True)
class ModelVersion:
    """One row: what was decided on a ds about one version. Fields stand in the order of ``SCHEMA``."""

    ds: str
    model_name: str
    model_version: str
    sequence: int
    path: str
    files_digest: str
    metrics: dict[str, float]
    """Of training, on its validation split."""
    trained_start_ds: str | None
    trained_end_ds: str | None
    trained_config_hash: str | None
    """Of the export that it was trained on."""
    contract_digest: str
    """Of the feature contract: which columns, in which order, hashed how."""
    data: str
    data_digest: str
    """The export that it was judged on, and a hash of its manifest."""
    split: str
    metric: str
    rows: int
    requests: int
    value: float
    value_low: float
    value_high: float
    champion_name: str | None
    champion_version: str | None
    champion_value: float | None
    """Of the champion at that time; None for the first one, the value also where it could not be compared."""
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    promoted: bool
    forced: bool
    reason: str

    @property
    def label(self) -> str:
        return f"{self.model_name} {self.model_version}"


def decisions(lake: Lake, ds: str | None = None) -> list[ModelVersion]:
    """The newest decisions not after ``ds``, newest first, at most MOST_DECISIONS; [] without the table."""
    return _newest(_until(lake, ds), MOST_DECISIONS) if lake.exists(c.MODELS) else []


def champion_of(lake: Lake, ds: str | None = None) -> ModelVersion | None:
    """The decision that made the champion of ``ds`` (None: of all days); None if there was none."""
    if not lake.exists(c.MODELS):
        return None
    return next(iter(_newest(_until(lake, ds).where("promoted"), 1)), None)


def champion_directory(lake: Lake, ds: str) -> Path:
    """Where the files of the champion of ``ds`` are, found to be those that were promoted.

    Raises NoChampionError, or ScoringError if the files have changed or are gone.
    """
    champion = champion_of(lake, ds)
    if champion is None:
        raise NoChampionError(ds, lake.path(c.MODELS))
    try:
        require_version(Path(champion.path), champion.files_digest)
    except ModelError as error:
        raise ScoringError(
            f"champion {champion.label} of {ds} cannot be used: {error} Or promote another model with --force."
        ) from error
    return Path(champion.path)


def model_directory(lake: Lake, model: str, ds: str) -> Path:
    """Where ``--model`` points to: a directory, or that of the champion of ``ds``."""
    return champion_directory(lake, ds) if model == CHAMPION else local_path(model)


def registered_digest(lake: Lake, name: str, version: str) -> str | None:
    """The digest that a version's files were last registered with; None for a new version."""
    if not lake.exists(c.MODELS):
        return None
    of_version = (F.col("model_name") == name) & (F.col("model_version") == version)
    found = _newest(_until(lake, None).where(of_version), 1)
    return found[0].files_digest if found else None


def record(lake: Lake, config: PrerankConfig, decided: ModelVersion) -> ModelVersion:
    """Write one decision as the last of its ds, in place of an earlier one about the same version on that ds.

    The same refusal once more is not written. The same promotion is: it may be back on top after others of that ds.
    """
    day, seen = DateRange(decided.ds, decided.ds), lake.seen(c.MODELS)
    today = _newest(lake.read(c.MODELS, day), MOST_DECISIONS) if lake.exists(c.MODELS) else []
    for one in today:
        if not decided.promoted and replace(decided, sequence=one.sequence) == one:
            record_lost_commits(lake, (c.MODELS,))
            return one
    decided = replace(decided, sequence=1 + max((one.sequence for one in today), default=0))
    frame = lake.spark.createDataFrame([tuple(vars(decided).values())], SCHEMA)
    only = {"model_name": decided.model_name, "model_version": decided.model_version}
    run = Run(
        job="promote",
        config_hash=config_hash(config),
        definition_hash=decided.model_version,
        inputs=dict(lake.pinned),
        source=decided.data,
    )
    replace_partitions(lake, [Output(c.MODELS, frame, day, GRAIN, only=only, read=seen)], run)
    return decided


def _until(lake: Lake, ds: str | None) -> DataFrame:
    table = lake.read(c.MODELS)
    return table if ds is None else table.where(F.col("ds") <= ds)


def _newest(table: DataFrame, most: int) -> list[ModelVersion]:
    # Two promotions that ran at the same moment may share a number: the version decides, the same way every time.
    ordered = table.orderBy(F.desc("ds"), F.desc("sequence"), "model_name", "model_version").limit(most)
    rows = ordered.select(*(field.name for field in fields(ModelVersion))).toLocalIterator()
    return [ModelVersion(**row.asDict()) for row in rows]
