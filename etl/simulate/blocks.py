"""Blocks of requests as Arrow batches: the unit of work, the same numbers wherever a block runs."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.simulate.behaviour import (
    ACTIONS,
    Requests,
    Shown,
    act,
    draw_candidates,
    draw_requests,
    items_of,
    probability,
    show,
)
from etl.simulate.catalogue import LEAVES_PER_DEPARTMENT, Ints
from etl.simulate.noise import NoisyRows, add_noise, bot_day, break_columns
from etl.simulate.queries import SPELLINGS
from etl.simulate.streams import Stream, generator
from etl.simulate.users import COUNTRIES, GENDERS
from etl.simulate.world import DAY_MS, World, WorldSpec, build_world

BLOCK_REQUESTS = 512
_PILOT_BLOCKS = 8

RAW_COLUMNS = (
    "request_id string, ts string, user_id string, query string, item_id string, action string, event_id string, "
    "position int, country string, gender string"
)
#: The raw log's columns, what a row is (an index into KINDS), and whether it lies behind the range.
EVENTS_DDL = f"{RAW_COLUMNS}, kind tinyint, outside boolean"
TRUTH_DDL = "request_id string, item_id string, probability double"
ITEMS_DDL = "item_id string, text string, category string, department string, price double, first_seen_ds string"
CANDIDATES_DDL = (
    "ds string, request_id string, query string, user_id string, country string, gender string, items array<string>"
)


@dataclass(frozen=True)
class Plan:
    """How a log of the wanted number of rows is made up."""

    spec: WorldSpec
    requests: int
    bot_days: int

    @property
    def request_blocks(self) -> int:
        return -(-self.requests // BLOCK_REQUESTS)

    @property
    def event_blocks(self) -> int:
        """Blocks of requests, then one per bot day."""
        return self.request_blocks + self.bot_days

    @property
    def candidate_blocks(self) -> int:
        return -(-self.spec.knobs.candidate_requests // BLOCK_REQUESTS)


def plan_log(spec: WorldSpec) -> Plan:
    """Choose the number of requests by playing a few blocks, which are thrown away."""
    knobs, world = spec.knobs, build_world(spec)
    bots = 0
    if spec.rows >= knobs.bot_min_rows and knobs.bot_rate > 0:
        bots = max(1, round(spec.rows * knobs.bot_rate / knobs.bot_rows))
    played = 0
    for block in range(_PILOT_BLOCKS):
        rng = generator(spec.seed, Stream.PILOT, block)
        first = block * BLOCK_REQUESTS
        requests = draw_requests(world, rng, first, first + BLOCK_REQUESTS, _PILOT_BLOCKS * BLOCK_REQUESTS)
        played += len(act(world, requests, show(world, requests, rng), rng))
    per_request = played / (_PILOT_BLOCKS * BLOCK_REQUESTS) * (1 + knobs.duplicate_rate + knobs.malformed_rate)
    return Plan(spec, max(1, round((spec.rows - bots * knobs.bot_rows) / per_request)), bots)


def events_of(plan: Plan, block: int) -> pa.RecordBatch:
    """The raw rows of a block (EVENTS_DDL)."""
    world = build_world(plan.spec)
    if block >= plan.request_blocks:
        requests, noisy = bot_day(world, block - plan.request_blocks)
        return _encode(world, requests, noisy, "b")
    requests, shown, rng = _play(world, plan, block)
    noise = generator(plan.spec.seed, Stream.NOISE, block)
    return _encode(world, requests, add_noise(act(world, requests, shown, rng), noise, plan.spec.knobs), "r")


def truth_of(plan: Plan, block: int) -> pa.RecordBatch:
    """The truth of what the requests of a block show (TRUTH_DDL); bots have none."""
    world = build_world(plan.spec)
    requests, shown, _ = _play(world, plan, block)
    return _truth(world, requests, shown, "r")


def candidates_of(plan: Plan, block: int) -> pa.RecordBatch:
    """The candidate sets of a block (CANDIDATES_DDL)."""
    world = build_world(plan.spec)
    requests, shown = _play_candidates(world, plan, block)
    items = _ids("i", 5, items_of(world, requests, shown.slot)[shown.mask])
    offsets = np.concatenate([[0], np.cumsum(shown.mask.sum(axis=1))])
    columns = {
        "ds": pa.array([plan.spec.dates.end] * len(requests)),
        "request_id": _ids("c", 9, requests.number),
        "query": _queries(world, requests),
        "user_id": _ids("u", 5, requests.user),
        **_segments(world, requests.user),
        "items": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items),
    }
    return pa.RecordBatch.from_pydict(columns)


def candidate_truth_of(plan: Plan, block: int) -> pa.RecordBatch:
    """The truth of the candidates of a block (TRUTH_DDL)."""
    world = build_world(plan.spec)
    requests, shown = _play_candidates(world, plan, block)
    return _truth(world, requests, shown, "c")


def items_table(spec: WorldSpec) -> pa.RecordBatch:
    """The catalogue as a shop would export it (ITEMS_DDL)."""
    catalogue = build_world(spec).catalogue
    words = catalogue.words
    days = catalogue.first_seen_day.astype("datetime64[D]")
    columns = {
        "item_id": _ids("i", 5, np.arange(len(catalogue))),
        "text": pa.array(catalogue.text),
        "category": pa.array(words.leaf).take(pa.array(catalogue.leaf)),
        "department": pa.array(words.department).take(pa.array(catalogue.leaf // LEAVES_PER_DEPARTMENT)),
        "price": pa.array(catalogue.price),
        "first_seen_ds": pa.array(np.datetime_as_string(days).tolist()),
    }
    return pa.RecordBatch.from_pydict(columns)


def _play(world: World, plan: Plan, block: int) -> tuple[Requests, Shown, np.random.Generator]:
    """The requests of a block, what they show, and the stream from which the actions are drawn next."""
    rng = generator(plan.spec.seed, Stream.REQUESTS, block)
    stop = min(plan.requests, (block + 1) * BLOCK_REQUESTS)
    requests = draw_requests(world, rng, block * BLOCK_REQUESTS, stop, plan.requests)
    return requests, show(world, requests, rng), rng


def _play_candidates(world: World, plan: Plan, block: int) -> tuple[Requests, Shown]:
    rng = generator(plan.spec.seed, Stream.CANDIDATES, block)
    total = plan.spec.knobs.candidate_requests
    stop = min(total, (block + 1) * BLOCK_REQUESTS)
    drawn = draw_requests(world, rng, block * BLOCK_REQUESTS, stop, total)
    # A request keeps its time of day and moves to the last day.
    requests = dataclasses.replace(drawn, time_ms=(plan.spec.end_day - 1) * DAY_MS + drawn.time_ms % DAY_MS)
    return requests, draw_candidates(world, requests, rng)


def _truth(world: World, requests: Requests, shown: Shown, prefix: str) -> pa.RecordBatch:
    request, _ = np.nonzero(shown.mask)
    columns = {
        "request_id": _ids(prefix, 9, requests.number).take(pa.array(request)),
        "item_id": _ids("i", 5, items_of(world, requests, shown.slot)[shown.mask]),
        "probability": pa.array(probability(world, requests, shown.slot)[shown.mask]),
    }
    return pa.RecordBatch.from_pydict(columns)


def _encode(world: World, requests: Requests, noisy: NoisyRows, prefix: str) -> pa.RecordBatch:
    rows = noisy.rows
    request = pa.array(rows.request)
    request_id = _ids(prefix, 9, requests.number).take(request)
    action = pa.array([str(code) for code in range(len(ACTIONS))]).take(pa.array(rows.action))
    position = pa.array(rows.position, pa.int32())
    columns = {
        "request_id": request_id,
        "ts": _iso(rows.time_ms),
        "user_id": _ids("u", 5, requests.user).take(request),
        "query": _queries(world, requests).take(request),
        "item_id": _ids("i", 5, rows.item),
        "action": pa.array(ACTIONS).take(pa.array(rows.action)),
        "event_id": pc.binary_join_element_wise(request_id, position.cast(pa.string()), action, "-"),
        "position": position,
        **{name: values.take(request) for name, values in _segments(world, requests.user).items()},
    }
    columns = break_columns(columns, noisy)
    columns |= {
        "kind": pa.array(noisy.kind, pa.int8()),
        "outside": pa.array(rows.time_ms >= world.spec.end_day * DAY_MS),
    }
    return pa.RecordBatch.from_pydict(columns)


def _segments(world: World, user: Ints) -> dict[str, pa.Array]:
    # Bots have numbers behind the users'; they pose as one of them.
    person = user % len(world.users)
    return {
        "country": pa.array(COUNTRIES).take(pa.array(world.users.country[person])),
        "gender": pa.array(GENDERS, pa.string()).take(pa.array(world.users.gender[person])),
    }


def _queries(world: World, requests: Requests) -> pa.Array:
    typed = (requests.query * SPELLINGS + requests.spelling).tolist()
    return pa.array([world.queries.spellings[k] for k in typed], pa.string())


def _ids(prefix: str, width: int, numbers: Ints) -> pa.Array:
    """Zero-padded names; longer numbers simply get longer."""
    digits = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(prefix, digits, "")


def _iso(time_ms: Ints) -> pa.Array:
    text = pa.array(time_ms, pa.timestamp("ms")).cast(pa.string())
    return pc.binary_join_element_wise(pc.replace_substring(text, " ", "T"), "Z", "")
