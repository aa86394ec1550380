"""Small worlds and logs for the tests of the simulator."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from etl.contract.dates import DateRange
from etl.simulate.behaviour import Requests, Shown, draw_requests, show
from etl.simulate.blocks import Plan, events_of, plan_log, truth_of
from etl.simulate.config import SimulateConfig
from etl.simulate.streams import Stream, generator
from etl.simulate.world import World, WorldSpec, build_world

DATES = DateRange("2026-03-01", "2026-03-21")


def spec(rows: int = 20_000, seed: int = 7, knobs: SimulateConfig | None = None) -> WorldSpec:
    return WorldSpec(seed, rows, DATES, knobs or SimulateConfig())


@dataclass(frozen=True)
class Played:
    world: World
    requests: Requests
    shown: Shown


def play(knobs: SimulateConfig | None = None, requests: int = 300) -> Played:
    """A block of requests and what they show."""
    world = build_world(spec(knobs=knobs))
    rng = generator(7, Stream.REQUESTS)
    drawn = draw_requests(world, rng, 0, requests, requests)
    return Played(world, drawn, show(world, drawn, rng))


def events(plan: Plan) -> pa.Table:
    return pa.Table.from_batches([events_of(plan, block) for block in range(plan.event_blocks)])


def truth(plan: Plan) -> pa.Table:
    return pa.Table.from_batches([truth_of(plan, block) for block in range(plan.request_blocks)])


def plan(rows: int = 20_000, seed: int = 7, knobs: SimulateConfig | None = None) -> Plan:
    return plan_log(spec(rows, seed, knobs))


def hits_at_3(scores: dict[tuple[str, str], float], engaged: set[tuple[str, str]]) -> float:
    """Among requests with an engaged item, the share whose three best items hold one."""
    by_request: dict[str, list[tuple[float, str]]] = {}
    for (request, item), score in scores.items():
        by_request.setdefault(request, []).append((-score, item))
    hits = []
    for request in {request for request, _ in engaged}:
        best = [item for _, item in sorted(by_request[request])[:3]]
        hits.append(any((request, item) in engaged for item in best))
    return float(np.mean(hits))
