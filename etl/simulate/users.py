"""Users: where they are, how often they search, what they like, and how that turns over time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etl.simulate.catalogue import STYLE_DIMS, TASTE_DIMS, Floats, Ints
from etl.simulate.config import SimulateConfig

COUNTRIES = ("US", "GB", "DE", "FR", "BR", "JP")
COUNTRY_SHARES = (0.45, 0.15, 0.1, 0.1, 0.1, 0.1)
GENDERS = ("female", "male", None)
FEMALE_SHARE = 0.6
_DISPOSITIONS = 4096
TASTE_CYCLE_DAYS = 365.0


@dataclass(frozen=True)
class Users:
    """Arrays over n users, small ones: a user's taste is the sum of two dispositions out of a table."""

    country: NDArray[np.int8]  # (n,) index into COUNTRIES
    gender: NDArray[np.int8]  # (n,) index into GENDERS
    cumulative: NDArray[np.float64]  # (n + 1,) share of traffic before each user
    favourites: NDArray[np.int32]  # (n, 2) departments
    disposition: NDArray[np.int16]  # (n, 2)
    dispositions: Floats  # (_DISPOSITIONS, 2, TASTE_DIMS): the two ends of a quarter of the cycle
    country_style: Floats  # (countries, leaves, STYLE_DIMS)
    gender_style: Floats  # (genders, leaves, STYLE_DIMS)

    def __len__(self) -> int:
        return len(self.country)

    def taste(self, user: Ints, day: NDArray[np.float64]) -> Floats:
        """Tastes (m, TASTE_DIMS) of users at times given in days since 1970."""
        angle = (2 * np.pi * day / TASTE_CYCLE_DAYS)[:, None]
        ends = self.dispositions[self.disposition[user]].sum(axis=1) / 2**0.5
        return (ends[:, 0] * np.cos(angle) + ends[:, 1] * np.sin(angle)).astype(np.float32)


def build_users(
    rng: np.random.Generator, count: int, leaves: int, departments: list[int], knobs: SimulateConfig
) -> Users:
    """Draw ``count`` users; favourites come from ``departments``, those that have queries."""
    # Log-normal activity; the cap keeps every person far below what a bot does in a day.
    weight = np.minimum(rng.lognormal(0.0, 1.0, count), 30.0)
    gender = np.where(rng.random(count) < FEMALE_SHARE, 0, 1)
    gender = np.where(rng.random(count) < knobs.unknown_gender_share, 2, gender)
    gender_style = rng.standard_normal((len(GENDERS), leaves, STYLE_DIMS), dtype=np.float32)
    gender_style[GENDERS.index(None)] = 0
    return Users(
        country=rng.choice(len(COUNTRIES), count, p=COUNTRY_SHARES).astype(np.int8),
        gender=gender.astype(np.int8),
        cumulative=np.concatenate([[0.0], np.cumsum(weight / weight.sum())]),
        favourites=rng.choice(departments, (count, 2)).astype(np.int32),
        disposition=rng.integers(0, _DISPOSITIONS, (count, 2)).astype(np.int16),
        dispositions=rng.standard_normal((_DISPOSITIONS, 2, TASTE_DIMS), dtype=np.float32),
        country_style=rng.standard_normal((len(COUNTRIES), leaves, STYLE_DIMS), dtype=np.float32),
        gender_style=gender_style,
    )
