"""What the requests of one day are scored or searched with, as frames: queries' lists and users' histories."""

from dataclasses import dataclass

from pyspark.sql import DataFrame

from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.lake import Lake
from etl.query_items import can_rank
from models.features import FeatureSpec
from scoring.config import PrerankConfig
from scoring.folded import CrossPlan, Rates
from scoring.item_matrix import MatrixManifest
from scoring.item_vectors import matrix_folder
from scoring.request_lists import best_items, query_lists, recent_actions
from scoring.seen import day_seen


@dataclass(frozen=True)
class Day:
    lake: Lake
    config: PrerankConfig
    ds: str
    spec: FeatureSpec
    """The model's."""
    plan: CrossPlan
    matrix: MatrixManifest
    """Of the catalogue that the day is scored with."""

    @property
    def as_of(self) -> DateRange:
        """The one day that interactions are read of."""
        day = day_seen(self.config, self.ds)
        return DateRange(day, day)

    @property
    def folder(self) -> str:
        """Of the matrix."""
        return str(matrix_folder(self.config, self.matrix.model_version, self.matrix.as_of))

    def items(self) -> DataFrame:
        """(item_id) of the catalogue."""
        snapshot = DateRange(self.matrix.as_of, self.matrix.as_of)
        return self.lake.read(c.ITEMS, snapshot).select("item_id")

    def lists(self, requests: DataFrame, rates: Rates | None = None) -> DataFrame:
        """What the queries of ``requests`` (query_key, ..) have, see ``request_lists.query_lists``."""
        lake = self.lake
        asked = requests.select("query_key").distinct()
        best = best_items(lake.read(c.QUERY_ITEMS, self.as_of), self.spec) if can_rank(self.config) else None
        matrix = (self.folder, self.matrix.stamp)
        return query_lists(asked, lake.read(c.INTERACTIONS, self.as_of), best, self.plan, rates, matrix, lake.tasks)

    def histories(self, requests: DataFrame) -> DataFrame:
        """What the users of ``requests`` (user_id, ..) did, see ``request_lists.recent_actions``."""
        reach = DateRange(shift_ds(self.ds, -self.config.export.history_days), shift_ds(self.ds, -1))
        events = self.lake.read(c.EVENTS, reach)
        return recent_actions(events, requests, self.spec, self.ds)
