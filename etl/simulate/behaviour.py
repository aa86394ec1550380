"""What happens in a block of requests: who asks what and when, what the shop shows, what the user does with it."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from etl.simulate.catalogue import STYLE_DIMS, TASTE_DIMS, Bools, Floats, Ints
from etl.simulate.config import DEPTH_SPREAD
from etl.simulate.queries import SPELLINGS
from etl.simulate.world import DAY_MS, World

ACTIONS = ("impression", "click", "long_click", "save", "purchase")
IMPRESSION, CLICK, LONG_CLICK, SAVE, PURCHASE = range(len(ACTIONS))

#: The shop's ranker: shared words, then popularity, then its own noise (other signals, experiments, stock).
_POPULARITY_WEIGHT, _NOISE_WEIGHT = 0.5, 0.7
#: By how much a standard deviation of hidden affinity shifts what follows a click: satisfaction outlasts curiosity.
_SATISFACTION = 0.5
_LONG_CLICK_SECONDS = 30.0
_SMALLEST_CANDIDATE_SET = 100


@dataclass(frozen=True)
class Requests:
    """Arrays over n requests."""

    number: Ints  # (n,) unique in the log
    time_ms: Ints  # (n,) since 1970, UTC
    user: Ints  # (n,)
    query: Ints  # (n,)
    spelling: Ints  # (n,) how the query was typed, below SPELLINGS

    def __len__(self) -> int:
        return len(self.number)

    @property
    def day(self) -> NDArray[np.float64]:
        """Time in days since 1970."""
        return self.time_ms / DAY_MS


@dataclass(frozen=True)
class Shown:
    """What n requests show, best first: slots of the query's pool, and which of them exist."""

    slot: Ints  # (n, m)
    mask: Bools  # (n, m); a prefix of each row


@dataclass(frozen=True)
class Rows:
    """Rows of the log as arrays; ``request`` is the index within the block."""

    request: Ints
    item: Ints
    action: Ints
    position: Ints  # from 1
    time_ms: Ints
    late: Bools  # of an action that came a day or two late

    def __len__(self) -> int:
        return len(self.request)


def draw_requests(world: World, rng: np.random.Generator, start: int, stop: int, total: int) -> Requests:
    """Requests ``start`` to ``stop`` of ``total``, in time order: each has an equal part of the range's traffic."""
    number = np.arange(start, stop)
    share = (number + rng.random(len(number))) / total
    hours = np.interp(share, world.clock, np.arange(len(world.clock)))
    time_ms = world.spec.start_day * DAY_MS + (hours * 3_600_000).astype(np.int64)
    users, queries, knobs = world.users, world.queries, world.spec.knobs
    user = _pick(users.cumulative, rng.random(len(number)))
    favourite = users.favourites[user, rng.integers(0, 2, len(number))]
    at_home = rng.random(len(number)) < knobs.favourite_share
    low = np.where(at_home, queries.department_start[favourite], 0)
    high = np.where(at_home, queries.department_start[favourite + 1], len(queries))
    edge, width = queries.cumulative[low], queries.cumulative[high] - queries.cumulative[low]
    query = np.clip(_pick(queries.cumulative, edge + width * rng.random(len(number))), low, high - 1)
    messy = rng.random(len(number)) < knobs.messy_query_share
    spelling = np.where(messy, rng.integers(1, SPELLINGS, len(number)), 0)
    return Requests(number, time_ms, user, query, spelling)


def _pick(cumulative: NDArray[np.float64], share: NDArray[np.float64]) -> Ints:
    found = np.searchsorted(cumulative, share, side="right") - 1
    return np.clip(found, 0, len(cumulative) - 2)


def show(world: World, requests: Requests, rng: np.random.Generator) -> Shown:
    """What the shop's ranker shows: the best of the pool by words, popularity and noise, never by the truth."""
    shown = world.spec.knobs.mean_shown
    depth = shown - DEPTH_SPREAD + rng.binomial(2 * DEPTH_SPREAD, 0.5, len(requests))
    pool, listed = _listed(world, requests)
    score = world.queries.pool_text[requests.query] + _POPULARITY_WEIGHT * world.catalogue.popularity[pool]
    score = np.where(listed, score + _NOISE_WEIGHT * rng.gumbel(size=pool.shape), -np.inf)
    slot = np.argsort(-score, axis=1, kind="stable")[:, : shown + DEPTH_SPREAD]
    mask = (np.arange(slot.shape[1]) < depth[:, None]) & np.take_along_axis(listed, slot, axis=1)
    return Shown(slot, mask)


def draw_candidates(world: World, requests: Requests, rng: np.random.Generator) -> Shown:
    """Candidate sets of 100 items up to the whole pool, in an order near that of retrieval."""
    pool, listed = _listed(world, requests)
    size = rng.integers(min(_SMALLEST_CANDIDATE_SET, pool.shape[1]), pool.shape[1] + 1, len(requests))
    order = np.arange(pool.shape[1]) + rng.normal(0.0, 20.0, pool.shape)
    slot = np.argsort(np.where(listed, order, np.inf), axis=1, kind="stable")
    mask = (np.arange(slot.shape[1]) < size[:, None]) & np.take_along_axis(listed, slot, axis=1)
    return Shown(slot, mask)


def _listed(world: World, requests: Requests) -> tuple[Ints, Bools]:
    """The pools of the requests (n, p), and which of their items the shop has listed by that day."""
    pool = world.queries.pool[requests.query]
    return pool, world.catalogue.first_seen_day[pool] <= np.floor(requests.day)[:, None]


def items_of(world: World, requests: Requests, slot: Ints) -> Ints:
    """Items (n, m) in slots (n, m) of the requests' pools."""
    return world.queries.pool[requests.query[:, None], slot]


def probability(world: World, requests: Requests, slot: Ints) -> NDArray[np.float64]:
    """The truth (n, m): how likely the user is to engage with the item once he examines it, wherever it stands."""
    knobs, catalogue, users = world.spec.knobs, world.catalogue, world.users
    item = items_of(world, requests, slot)
    leaf = world.queries.leaf[requests.query]
    country, gender = users.country[requests.user], users.gender[requests.user]
    shift = knobs.country_strength * users.country_style[country, leaf]
    shift = (shift + knobs.gender_strength * users.gender_style[gender, leaf]) / STYLE_DIMS**0.5
    taste = knobs.taste_strength * users.taste(requests.user, requests.day) / TASTE_DIMS**0.5
    likes = np.concatenate([shift, taste], axis=1)
    traits = np.concatenate([catalogue.style[item], catalogue.taste[item]], axis=2)
    logit = world.queries.pool_logit[requests.query[:, None], slot] + np.einsum("nd,nmd->nm", likes, traits)
    logit = logit + knobs.drift_strength * _season(world, item, requests.day)
    return 1 / (1 + np.exp(-logit.astype(np.float64)))


def _season(world: World, item: Ints, day: NDArray[np.float64]) -> Floats:
    """Waves (n, m) of standard deviation 1 over time: the sum of the item's own and its attribute's."""
    catalogue = world.catalogue
    turns = day[:, None, None] / catalogue.wave_days[item]
    wave = np.sin((2 * np.pi * (turns % 1.0) + catalogue.wave_phase[item]).astype(np.float32))
    return wave.sum(axis=2)


def act(world: World, requests: Requests, shown: Shown, rng: np.random.Generator) -> Rows:
    """Impressions and what follows them, seconds to a day after the request; late actions a day more, or two."""
    knobs, slot = world.spec.knobs, shown.slot
    rank = np.arange(1, slot.shape[1] + 1)
    examined = rank.astype(np.float64) ** -knobs.position_bias
    draws = rng.random((4, *slot.shape), dtype=np.float32)
    clicked = shown.mask & (draws[0] < examined * probability(world, requests, slot))
    hidden = world.queries.pool_hidden[requests.query[:, None], slot]
    followed = [
        clicked & (draw < _shifted(share, _SATISFACTION * hidden))
        for draw, share in zip(draws[1:], (knobs.long_click_share, knobs.save_share, knobs.purchase_share), strict=True)
    ]
    late_s = np.where(rng.random(slot.shape) < knobs.late_rate, DAY_MS / 1000 * (1 + rng.random(slot.shape)), 0.0)
    delays = [np.zeros(slot.shape), *(late_s + delay for delay in _delays_s(rng, slot.shape, rank))]
    item = items_of(world, requests, slot)
    parts = []
    for action, (did, delay) in enumerate(zip([shown.mask, clicked, *followed], delays, strict=True)):
        request, place = np.nonzero(did)
        time_ms = requests.time_ms[request] + (1000 * delay[request, place]).astype(np.int64)
        late = (late_s[request, place] > 0) & (action != IMPRESSION)
        parts.append(Rows(request, item[request, place], np.full(len(request), action), place + 1, time_ms, late))
    return join_rows(parts)


def join_rows(parts: list[Rows]) -> Rows:
    """The rows of all parts, one part after the other."""
    return Rows(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Rows)))


def _shifted(share: float, logit: Floats) -> Floats:
    """The probability ``share`` moved by ``logit``; 0 stays 0 and 1 stays 1."""
    odds = np.float32(share) * np.exp(logit)
    return odds / (odds + np.float32(1 - share))


def _delays_s(rng: np.random.Generator, shape: tuple[int, ...], rank: Ints) -> list[NDArray[np.float64]]:
    """Seconds from the request to click, long click, save and purchase, (n, m) each.

    Reasoned: a second per item passed and some to choose, half a minute to like a page, 20 minutes to decide on buying,
    and nothing is credited to a search after a day.
    """
    normal = rng.standard_normal((3, *shape), dtype=np.float32)
    click = rank + 5 * np.exp(normal[0])
    save = click + 30 * np.exp(normal[1])
    purchase = click + np.minimum(1200 * np.exp(1.2 * normal[2]), 86_400)
    return [click, click + _LONG_CLICK_SECONDS, save, purchase]
