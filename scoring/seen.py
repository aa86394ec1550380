"""What scoring sees of a lake: the day whose state it reads, the catalogue of that day, and whether a model fits it."""

from pyspark.sql import DataFrame

from etl.catalogues import snapshot_days
from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.cross import cross_names
from etl.errors import MissingDataError
from etl.item_versions import described_columns
from etl.lake import Lake
from models.features import FeatureSpec
from models.model_dir import LoadedModel
from scoring.config import PrerankConfig
from scoring.errors import ScoringError


def day_seen(config: PrerankConfig, ds: str) -> str:
    """The last day that requests of ``ds`` know of."""
    return shift_ds(ds, -1 - config.interactions.lag_days)


def catalogue_day(lake: Lake, as_of: str) -> str:
    """The newest catalogue snapshot not later than ``as_of``; MissingDataError if there is none."""
    snapshot = snapshot_days(lake.days_of(c.ITEMS), as_of)
    if snapshot is None:
        raise MissingDataError(c.ITEMS, DateRange(as_of, as_of), lake.path(c.ITEMS))
    return snapshot


def described_catalogue(lake: Lake, snapshot: str, spec: FeatureSpec) -> DataFrame:
    """item_id, text, categories, numerics, dense of a snapshot's items, in the model's order."""
    columns = described_columns(spec.categories, spec.numerics, spec.dense)
    return lake.read(c.ITEMS, DateRange(snapshot, snapshot)).select("item_id", *columns)


def require_same_features(loaded: LoadedModel, config: PrerankConfig) -> None:
    """ScoringError unless the lake's columns, their lag and the reach of histories are those that the model learned
    from."""
    card = loaded.card
    absent = sorted(set(card.spec.cross) - set(cross_names(config)))
    if absent:
        raise ScoringError(
            f"model '{card.name}' reads {', '.join(absent[:3])}{' and more' if absent[3:] else ''}, which this "
            "configuration does not build: use the windows, half-lives, segments and families that it was trained on"
        )
    trained = card.data.get("lag_days")
    if trained != config.interactions.lag_days:
        raise ScoringError(
            f"model '{card.name}' learned from interactions {trained} days behind, the configuration says "
            f"interactions.lag_days={config.interactions.lag_days}: score with --set interactions.lag_days={trained}"
        )
    reach = card.data.get("history_days")
    if reach is not None and reach != config.export.history_days:
        raise ScoringError(
            f"model '{card.name}' learned from histories of {reach} days, the configuration says "
            f"export.history_days={config.export.history_days}: score with --set export.history_days={reach}"
        )
