"""The world that a log is drawn from: catalogue, queries and users, built from the seed alone."""

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from etl.contract.dates import DateRange, parse_ds
from etl.simulate.catalogue import ITEMS_PER_LEAF, LEAVES_PER_DEPARTMENT, Catalogue, build_catalogue
from etl.simulate.config import SimulateConfig
from etl.simulate.queries import Queries, build_queries
from etl.simulate.streams import Stream, generator
from etl.simulate.users import Users, build_users

#: Rows of a log whose catalogue and queries have the configured sizes.
REFERENCE_ROWS = 1_000_000
DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1)

#: Relative traffic, reasoned: by UTC hour, quiet in the morning and full in the evening; by weekday from Monday.
HOUR_WEIGHTS = tuple(1.0 + 0.6 * float(np.cos(2 * np.pi * (hour - 19.5) / 24)) for hour in range(24))
WEEKDAY_WEIGHTS = (1.0, 0.95, 0.95, 0.95, 1.0, 1.15, 1.25)


@dataclass(frozen=True)
class WorldSpec:
    """All that a world depends on. Hashable: workers keep the worlds of the last specs."""

    seed: int
    rows: int
    dates: DateRange
    knobs: SimulateConfig

    @property
    def start_day(self) -> int:
        """The first day, in days since 1970."""
        return (parse_ds(self.dates.start) - _EPOCH).days

    @property
    def end_day(self) -> int:
        """The day after the range, in days since 1970."""
        return self.start_day + len(self.dates)


@dataclass(frozen=True)
class World:
    spec: WorldSpec
    catalogue: Catalogue
    queries: Queries
    users: Users
    clock: NDArray[np.float64]  # (24 * days + 1,) share of the traffic before each hour of the range


@lru_cache(maxsize=2)
def build_world(spec: WorldSpec) -> World:
    """Build the world; knobs change effects, not draws, so worlds with and without an effect are otherwise alike."""
    rng = generator(spec.seed, Stream.WORLD)
    knobs, days = spec.knobs, len(spec.dates)
    growth = (spec.rows / REFERENCE_ROWS) ** 0.5
    items = max(LEAVES_PER_DEPARTMENT * ITEMS_PER_LEAF, round(knobs.catalogue_items * growth))
    catalogue = build_catalogue(rng, items, spec.start_day, days, knobs.new_item_share)
    queries = build_queries(rng, catalogue, max(50, round(knobs.distinct_queries * growth)), knobs)
    departments = np.flatnonzero(np.diff(queries.department_start)).tolist()
    requests = spec.rows / (1.1 * knobs.mean_shown)
    users = build_users(
        rng, max(20, round(requests / (knobs.user_requests_per_day * days))), catalogue.leaves, departments, knobs
    )
    return World(spec, catalogue, queries, users, _clock(spec.dates))


def _clock(dates: DateRange) -> NDArray[np.float64]:
    weights = [
        WEEKDAY_WEIGHTS[parse_ds(ds).weekday()] * HOUR_WEIGHTS[hour] for ds in dates.days() for hour in range(24)
    ]
    return np.concatenate([[0.0], np.cumsum(np.array(weights) / sum(weights))])
