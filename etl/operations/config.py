"""The sections ``monitor`` and ``maintain`` of ``prerank.yaml``."""

import math
from dataclasses import dataclass, field

from etl.contract import columns as c
from etl.contract.paths import require_local

#: Figures of the table ``monitoring``, each with what its parts are and what it says.
ROWS, REJECT_SHARE, COVERAGE = "rows", "reject_share", "coverage"
DAYS_BEHIND, SNAPSHOT_AGE, PSI = "days_behind", "snapshot_age_days", "psi"
METRICS = {
    ROWS: "rows of a table on the day",
    REJECT_SHARE: "refused rows among the raw rows of the day",
    COVERAGE: "share of impressions, and of head, torso and tail queries, with interactions as of the day before",
    DAYS_BEHIND: "days from the newest day of a table to the monitored one",
    SNAPSHOT_AGE: "days from the newest catalogue snapshot to the monitored day",
    PSI: "population stability index of a cross feature against the baseline day",
}


@dataclass(frozen=True)
class Limit:
    """What a figure may be; either side may be open."""

    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        given = [bound for bound in (self.min, self.max) if bound is not None]
        if not given or not all(map(math.isfinite, given)) or given != sorted(given):
            raise ValueError("a limit needs min, max or both, finite and in order, for example {max: 0.25}")

    def allows(self, value: float) -> bool:
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def __str__(self) -> str:
        bounds = [("at least", self.min), ("at most", self.max)]
        return " and ".join(f"{words} {bound:g}" for words, bound in bounds if bound is not None)


@dataclass(frozen=True)
class MonitorConfig:
    gates: dict[str, Limit] = field(default_factory=dict)
    """Figure -> limit that ends prerank monitor with exit code 3. Figures are rows, reject_share, coverage,
    days_behind, snapshot_age_days and psi, or a part: {coverage.impressions: {min: 0.3}, rows.events: {min: 1}}."""
    warnings: dict[str, Limit] = field(default_factory=lambda: {PSI: Limit(max=0.25)})
    """The same, only reported."""
    baseline_days: int = 7
    """PSI compares a day with the one so many days before; --baseline names one day for all."""
    sample_rows: int = 50_000
    """Impressions of a day, about, that PSI is found from; 0 leaves it out."""

    def __post_init__(self) -> None:
        for key in (*self.gates, *self.warnings):
            if key.split(".")[0] not in METRICS:
                raise ValueError(f"nothing is monitored as '{key}': known are {', '.join(METRICS)}, or METRIC.PART")
        if self.baseline_days < 1 or self.sample_rows < 0:
            raise ValueError("baseline_days must be 1 or more, sample_rows 0 or more")


#: Tables that may lose old days. The tiles go with interactions_daily, query_items with interactions.
RETAINED = (
    c.EVENTS, c.EVENTS_REJECTED, c.INTERACTIONS_DAILY, c.QUERIES_DAILY, c.INTERACTIONS, c.ITEMS, c.QUERIES,
    c.ITEM_VECTORS, c.CANDIDATES, c.SCORES, c.MONITORING,
)  # fmt: skip
#: Delta forgets after a week which files it has taken out of a table: below that, a running job may lose its files.
_LEAST_VACUUM_DAYS = 7


@dataclass(frozen=True)
class MaintainConfig:
    retention_days: dict[str, int] = field(default_factory=dict)
    """Table -> days that prerank maintain keeps, for example {events: 400, scores: 30}; other tables keep all. Of
    catalogues the newest snapshot before stays too."""
    vacuum_days: int = 7
    """Files that no longer belong to a table stay so long, and longer where a version that they belong to is needed."""
    keep: tuple[str, ...] = ("./trained",)
    """Folders that are searched for models, exports and files for serving: the versions they name stay readable."""

    def __post_init__(self) -> None:
        require_local("keep", *self.keep)
        for table, days in self.retention_days.items():
            if table not in RETAINED:
                raise ValueError(
                    f"retention_days: no table '{table}' to take days from: known are {', '.join(RETAINED)}"
                )
            if days < 1:
                raise ValueError(f"retention_days: {table} must keep 1 day or more")
        if self.vacuum_days < _LEAST_VACUUM_DAYS:
            raise ValueError(f"vacuum_days must be {_LEAST_VACUUM_DAYS} or more")
