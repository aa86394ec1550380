"""The sections of ``prerank.yaml`` that logs, tables and exports need. Explanations stand under each field."""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass, field

from etl.contract.columns import EVENTS, IMPRESSION, INTERACTIONS_DAILY, QUERIES_DAILY
from etl.operations.config import MaintainConfig, MonitorConfig

#: Families of columns of ``interactions``.
FAMILIES = ("cnt", "share", "rate", "decay", "users", "coec", "fresh")
#: Those that are there unless a configuration says otherwise.
USUAL_FAMILIES = FAMILIES[:5]

#: Where rows without engagement come from, beside what was shown.
IMPRESSIONS, CANDIDATES, CATALOGUE = NEGATIVES = ("impressions", "candidates", "catalogue")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


def _check_names(kind: str, names: tuple[str, ...]) -> None:
    for name in names:
        if not _NAME.match(name):
            raise ValueError(
                f"{kind} '{name}' becomes part of column names: use at most 64 lower-case letters, digits and _"
            )
    if len(set(names)) != len(names):
        raise ValueError(f"{kind} names repeat: {', '.join(names)}")


@dataclass(frozen=True)
class LakeConfig:
    root: str = "./lake"
    """Where the tables live: a local path, or any URI that Spark can write."""


@dataclass(frozen=True)
class EventsConfig:
    columns: dict[str, str] = field(default_factory=dict)
    """Renames: our column -> the raw log's column, for example {query: search_term}."""
    actions: tuple[str, ...] = (IMPRESSION, "click", "long_click", "save", "purchase")
    """Known actions; a row with another one is rejected."""
    segments: tuple[str, ...] = ("country", "gender")
    """Columns of the raw log that become segments."""
    max_query_chars: int = 512
    """Longer queries are rejected."""
    max_events_per_user_day: int = 5000
    """Above: the whole user-day is rejected as a bot."""
    max_reject_share: float = 0.5
    """Above this share of refused rows on a day, the gate stops the run."""

    def __post_init__(self) -> None:
        _check_names("action", self.actions)
        _check_names("segment", self.segments)
        if any("__" in name for name in self.segments):
            raise ValueError("a segment's name must not hold '__': it separates segment and column in cross features")
        if "all" in self.segments:
            raise ValueError("'all' is the segment that every event has already: rename the raw column")
        if self.max_query_chars < 1 or self.max_events_per_user_day < 1:
            raise ValueError("max_query_chars and max_events_per_user_day must be at least 1")
        if not 0 <= self.max_reject_share <= 1:
            raise ValueError("max_reject_share must lie in [0, 1]: 0 stops at the first refused row, 1 never")


@dataclass(frozen=True)
class InteractionsConfig:
    windows_days: tuple[int, ...] = (7, 30, 90)
    """A window of w days at ds covers [ds-w+1 00:00, ds+1 00:00) UTC."""
    half_lives_days: tuple[int, ...] = (14,)
    """A day's count weighs 0.5^(age_days / half_life_days), over the longest window."""
    min_users: int = 1
    """Rows with fewer distinct users in the longest window are not written."""
    top_items_per_query: int = 1000
    """Keep the best items of a query by decayed engagement; 0 keeps all."""
    lag_days: int = 0
    """A label of day D reads interactions of D-1-lag_days."""
    families: tuple[str, ...] = USUAL_FAMILIES
    """Which columns the table has: what is written is what costs. Beside the usual ones coec (actions over expected
    actions, without the position's part) and fresh (shares among a query's fresh items)."""
    fresh_days: int = 30
    """An item is fresh for so many days after the longest window first saw it."""
    rate_prior_impressions: float | None = None
    """Impressions that the next coarser level is worth in a smoothed rate; null: estimated from the log, per action."""
    days_per_job: int = 7
    """How many ds a range builds in one Spark job; changes no value."""

    def __post_init__(self) -> None:
        if not self.windows_days or min(self.windows_days) < 1 or len(set(self.windows_days)) != len(self.windows_days):
            raise ValueError("windows_days needs distinct whole days, for example [7, 30, 90]")
        if not self.half_lives_days or min(self.half_lives_days) < 1:
            raise ValueError("half_lives_days needs at least one half-life of 1 day or more")
        if len(set(self.half_lives_days)) != len(self.half_lives_days):
            raise ValueError("half_lives_days repeats a half-life")
        if self.min_users < 0 or self.top_items_per_query < 0 or self.lag_days < 0 or self.days_per_job < 1:
            raise ValueError("min_users, top_items_per_query and lag_days must be 0 or more, days_per_job 1 or more")
        unknown = sorted(set(self.families) - set(FAMILIES))
        if unknown or not self.families or len(set(self.families)) != len(self.families):
            raise ValueError(f"families needs some of {', '.join(FAMILIES)}, each once")
        if "rate" in self.families and "cnt" not in self.families:
            raise ValueError("families: rate needs cnt, which the rates of unseen pairs are found from")
        if self.fresh_days < 1:
            raise ValueError("fresh_days must be 1 or more")
        if self.rate_prior_impressions is not None and self.rate_prior_impressions <= 0:
            raise ValueError("rate_prior_impressions must be above 0, or a pair without impressions has no rate")

    @property
    def longest_days(self) -> int:
        return max(self.windows_days)

    @property
    def edges_days(self) -> tuple[int, ...]:
        """The windows, and what else a sum of whole parts has to end at."""
        fresh = "fresh" in self.families and self.fresh_days < self.longest_days
        return tuple(sorted({*self.windows_days, *([self.fresh_days] if fresh else [])}))

    @property
    def counts_users(self) -> bool:
        """Whether windows need distinct users."""
        return "users" in self.families or self.min_users > 1


@dataclass(frozen=True)
class ItemsConfig:
    text: tuple[str, ...] = ("text",)
    """Raw catalogue columns joined into the text of an item or a query."""
    categories: tuple[str, ...] = ()
    numerics: tuple[str, ...] = ()
    dense: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeadConfig:
    """One thing that the models predict: did any of ``actions`` follow, and none of ``veto``?"""

    name: str
    actions: tuple[str, ...]
    weight: float = 1.0
    veto: tuple[str, ...] = ()
    """Actions that take the label back, for example a short click; they act on labels only, counts keep them."""

    def __post_init__(self) -> None:
        _check_names("head", (self.name,))
        if not self.actions or self.weight <= 0:
            raise ValueError(f"head '{self.name}' needs at least one action and a weight above 0")
        both = sorted(set(self.actions) & set(self.veto))
        if both:
            raise ValueError(f"head '{self.name}' has {', '.join(both)} in actions and in veto: keep it in one of them")


@dataclass(frozen=True)
class ExportConfig:
    history_length: int = 100
    """The last actions of a user that a row can see."""
    history_days: int = 90
    """A row of day D sees what its user did on D minus so many days or later."""
    cross_families: tuple[str, ...] = ("share", "rate", "decay", "users")
    """Families of interaction columns that become cross features."""
    validation_days: int = 1
    test_days: int = 1
    """The last days of the range; the days before them are for training."""
    label_window_days: int = 0
    """A day D is exported once ``events`` reaches D + so many days, and actions until then count. 0 holds no day back:
    what is there until the end of D+1 counts."""
    row_weights: dict[str, float] = field(default_factory=dict)
    """Action -> weight: a row weighs as the first of these actions, in this order, that it had; 1 if it had none."""
    impression_sampling_rate: float = 1.0
    """Share of the training rows without any action that is kept, each weighing 1/rate more; 1 keeps all."""
    sampling_seed: int = 0
    """Another seed keeps other impressions and draws other negatives."""
    negatives: str = IMPRESSIONS
    """Rows without engagement: impressions as logged; or beside them the query's other candidates, or any item of the
    catalogue (for a log without impressions). In every split."""
    negatives_per_request: int = 0
    """How many such items a request gets at most; 0 for negatives: impressions."""
    negative_weight: float = 1.0
    """The weight of a row that was drawn and not shown."""
    max_psi: float = 0.0
    """A feature that drifted further from the baseline's stops the export; 0 only reports. 0.25 is a usual limit."""

    def __post_init__(self) -> None:
        self._check_labels()
        if not set(self.cross_families) <= set(FAMILIES):
            raise ValueError(f"cross_families: known are {', '.join(FAMILIES)}")
        if self.history_length < 1 or self.history_days < 1 or self.validation_days < 0 or self.test_days < 0:
            raise ValueError("history_length and history_days must be 1 or more, split days 0 or more")
        if self.max_psi < 0:
            raise ValueError("max_psi must be 0 or more")

    def _check_labels(self) -> None:
        if self.label_window_days < 0:
            raise ValueError("label_window_days must be 0 or more")
        for name, weight in {**self.row_weights, "negative_weight": self.negative_weight}.items():
            if not (weight > 0 and math.isfinite(weight)):
                raise ValueError(f"a row's weight must be a number above 0, {name} has {weight}")
        if not 0 < self.impression_sampling_rate <= 1:
            raise ValueError("impression_sampling_rate must lie in (0, 1]")
        if not -(2**63) <= self.sampling_seed < 2**63:
            raise ValueError("sampling_seed must fit into 64 bits")
        if self.negatives not in NEGATIVES:
            raise ValueError(f"negatives: known are {', '.join(NEGATIVES)}")
        if self.negatives_per_request < 0 or (self.negatives == IMPRESSIONS) != (self.negatives_per_request == 0):
            raise ValueError(
                "negatives: candidates or catalogue needs negatives_per_request of 1 or more, impressions needs 0"
            )


@dataclass(frozen=True)
class SparkConfig:
    profile: str = "local"
    """A named set of Spark settings: local, cpu, gpu, gpu_training or rapids."""
    conf: dict[str, str] = field(default_factory=dict)
    """Single Spark settings on top of the profile, for example spark.conf.spark.driver.memory=8g."""
    packages: tuple[str, ...] = ()
    """Maven coordinates of jars beside Delta's, for example org.apache.hadoop:hadoop-aws:3.4.2 for a lake on s3a://.
    Under spark-submit, name them there: --packages."""


@dataclass(frozen=True)
class EtlConfig:
    """Everything that etl reads."""

    lake: LakeConfig = LakeConfig()
    events: EventsConfig = EventsConfig()
    interactions: InteractionsConfig = InteractionsConfig()
    items: ItemsConfig = ItemsConfig()
    heads: tuple[HeadConfig, ...] = (HeadConfig("engagement", ("click", "long_click", "save", "purchase"), 20.0),)
    export: ExportConfig = ExportConfig()
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    maintain: MaintainConfig = field(default_factory=MaintainConfig)
    spark: SparkConfig = SparkConfig()

    def __post_init__(self) -> None:
        if not self.heads:
            raise ValueError("heads needs at least one entry; the first is the ranking head")
        _check_names("head", tuple(head.name for head in self.heads))
        absent = sorted(set(self.export.cross_families) - set(self.interactions.families))
        if absent:
            raise ValueError(f"export.cross_families has {', '.join(absent)}, which interactions.families leaves out")
        for head in self.heads:
            self._check_actions(f"head '{head.name}'", {*head.actions, *head.veto})
        self._check_actions("export.row_weights", self.export.row_weights)
        self._check_retention()

    def _check_retention(self) -> None:
        """What the tables of a new day are made from must not be dropped before."""
        windows = self.interactions.longest_days + self.interactions.lag_days + 1
        histories = self.export.history_days + 1
        least = {EVENTS: max(windows, histories), INTERACTIONS_DAILY: windows, QUERIES_DAILY: windows}
        for table, days in least.items():
            kept = self.maintain.retention_days.get(table)
            if kept is not None and kept < days:
                raise ValueError(
                    f"maintain.retention_days keeps {kept} days of {table}, but windows and histories of a new day "
                    f"reach back {days}"
                )

    def _check_actions(self, user: str, actions: Collection[str]) -> None:
        unknown = sorted(set(actions) - set(self.events.actions))
        if unknown:
            raise ValueError(f"{user} uses {', '.join(unknown)}, not in events.actions")

    @property
    def engagement_actions(self) -> tuple[str, ...]:
        """The actions of the ranking head: what 'engagement' means wherever items are compared."""
        return self.heads[0].actions
