"""The sections of ``prerank.yaml`` that logs, tables and exports need. Explanations stand under each field."""

import re
from dataclasses import dataclass, field

from etl.contract.columns import IMPRESSION

#: Families of columns of ``interactions``.
FAMILIES = ("cnt", "share", "rate", "decay", "users", "coec", "fresh")
#: Those that are there unless a configuration says otherwise.
USUAL_FAMILIES = FAMILIES[:5]

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


def _check_names(kind: str, names: tuple[str, ...]) -> None:
    for name in names:
        if not _NAME.match(name):
            raise ValueError(f"{kind} '{name}' becomes part of column names: use lower-case letters, digits and _")
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
    """One thing that the models predict: did any of ``actions`` follow?"""

    name: str
    actions: tuple[str, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check_names("head", (self.name,))
        if not self.actions or self.weight <= 0:
            raise ValueError(f"head '{self.name}' needs at least one action and a weight above 0")


@dataclass(frozen=True)
class ExportConfig:
    history_length: int = 100
    """The last actions of a user that a row can see."""
    history_days: int = 90
    """How far back a user's history reaches."""
    cross_families: tuple[str, ...] = ("share", "rate", "decay", "users")
    """Families of interaction columns that become cross features."""
    validation_days: int = 1
    test_days: int = 1
    """The last days of the range; the days before them are for training."""
    max_psi: float = 0.0
    """A feature that drifted further from the baseline's stops the export; 0 only reports. 0.25 is a usual limit."""

    def __post_init__(self) -> None:
        if not set(self.cross_families) <= set(FAMILIES):
            raise ValueError(f"cross_families: known are {', '.join(FAMILIES)}")
        if self.history_length < 1 or self.history_days < 1 or self.validation_days < 0 or self.test_days < 0:
            raise ValueError("history_length and history_days must be 1 or more, split days 0 or more")
        if self.max_psi < 0:
            raise ValueError("max_psi must be 0 or more")


@dataclass(frozen=True)
class SparkConfig:
    profile: str = "local"
    """A named set of Spark settings: local, cpu, gpu or rapids."""
    conf: dict[str, str] = field(default_factory=dict)
    """Single Spark settings on top of the profile, for example spark.conf.spark.driver.memory=8g."""


@dataclass(frozen=True)
class EtlConfig:
    """Everything that etl reads."""

    lake: LakeConfig = LakeConfig()
    events: EventsConfig = EventsConfig()
    interactions: InteractionsConfig = InteractionsConfig()
    items: ItemsConfig = ItemsConfig()
    heads: tuple[HeadConfig, ...] = (HeadConfig("engagement", ("click", "long_click", "save", "purchase"), 20.0),)
    export: ExportConfig = ExportConfig()
    spark: SparkConfig = SparkConfig()

    def __post_init__(self) -> None:
        if not self.heads:
            raise ValueError("heads needs at least one entry; the first is the ranking head")
        _check_names("head", tuple(head.name for head in self.heads))
        absent = sorted(set(self.export.cross_families) - set(self.interactions.families))
        if absent:
            raise ValueError(f"export.cross_families has {', '.join(absent)}, which interactions.families leaves out")
        for head in self.heads:
            unknown = sorted(set(head.actions) - set(self.events.actions))
            if unknown:
                raise ValueError(f"head '{head.name}' uses {', '.join(unknown)}, not in events.actions")

    @property
    def engagement_actions(self) -> tuple[str, ...]:
        """The actions of the ranking head: what 'engagement' means wherever items are compared."""
        return self.heads[0].actions
