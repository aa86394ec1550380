"""What goes wrong in a log: rows sent twice, broken rows, bots. Late actions are part of behaviour."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.simulate.behaviour import CLICK, IMPRESSION, Requests, Rows, draw_requests, items_of, join_rows, show
from etl.simulate.catalogue import Bools, Ints
from etl.simulate.config import SimulateConfig
from etl.simulate.streams import Stream, generator
from etl.simulate.world import DAY_MS, World

#: What a row is: good, good but days behind its request, or bad for the reason that ingest should give.
KINDS = ("valid", "late", "duplicate", "bot", "missing_key", "bad_timestamp", "unknown_action", "query_too_long")
VALID, LATE, DUPLICATE, BOT, MISSING_KEY, BAD_TIMESTAMP, UNKNOWN_ACTION, QUERY_TOO_LONG = range(len(KINDS))
BROKEN = (MISSING_KEY, BAD_TIMESTAMP, UNKNOWN_ACTION, QUERY_TOO_LONG)
VARIANTS = 8

_KEYS = ("request_id", "user_id", "item_id", "query")
_BAD_TIMES = ("", "yesterday", "2026-13-45T25:61:00Z", "--")
_BAD_ACTIONS = ("hover", "teleport", "impresion", "click?")
_LONG_QUERY_CHARS = 600
_BOT_DEPTH = 20


@dataclass(frozen=True)
class NoisyRows:
    """Rows with what is wrong with each: ``kind`` indexes KINDS, ``variant`` picks the form of a defect."""

    rows: Rows
    kind: Ints
    variant: Ints


def add_noise(rows: Rows, rng: np.random.Generator, knobs: SimulateConfig) -> NoisyRows:
    """Append exact copies, and broken copies of impressions, so that the good rows stay whole."""
    twice = np.flatnonzero(rng.random(len(rows)) < knobs.duplicate_rate)
    impressions = np.flatnonzero(rows.action == IMPRESSION)
    rate = knobs.malformed_rate * len(rows) / max(1, len(impressions))
    broken = impressions[rng.random(len(impressions)) < rate]
    reasons = rng.choice(BROKEN, len(broken))
    kind = np.concatenate([np.where(rows.late, LATE, VALID), np.full(len(twice), DUPLICATE), reasons])
    index = np.concatenate([np.arange(len(rows)), twice, broken])
    return NoisyRows(_take(rows, index), kind, rng.integers(0, VARIANTS, len(kind)))


def bot_day(world: World, number: int) -> tuple[Requests, NoisyRows]:
    """A bot's day of ``bot_rows`` rows: it walks the queries for ten hours and opens all that it is shown."""
    rng = generator(world.spec.seed, Stream.BOTS, number)
    rows = world.spec.knobs.bot_rows
    total = -(-rows // (2 * _BOT_DEPTH))
    drawn = draw_requests(world, rng, 0, total, total)
    day = world.spec.start_day + int(rng.integers(0, len(world.spec.dates)))
    requests = dataclasses.replace(
        drawn,
        number=number * total + drawn.number,
        time_ms=day * DAY_MS + (6 * 3_600_000 + np.arange(total) * (36_000_000 // total)),
        user=np.full(total, len(world.users) + number),
    )
    item = items_of(world, requests, show(world, requests, rng).slot[:, :_BOT_DEPTH])
    request, place = (part.ravel() for part in np.indices(item.shape))
    never = np.zeros(item.size, dtype=np.bool_)
    seen = Rows(request, item.ravel(), np.full(item.size, IMPRESSION), place + 1, requests.time_ms[request], never)
    opened = dataclasses.replace(seen, action=np.full(item.size, CLICK), time_ms=seen.time_ms + 500 * (place + 1))
    both = join_rows([seen, opened])
    ours = _take(both, np.argsort(both.request, kind="stable")[:rows])
    return requests, NoisyRows(ours, np.full(len(ours), BOT), np.zeros(len(ours), dtype=np.int64))


def break_columns(columns: dict[str, pa.Array], noisy: NoisyRows) -> dict[str, pa.Array]:
    """The raw log's columns with the defects of ``kind`` and ``variant`` put in."""
    broken = dict(columns)
    kind, variant = noisy.kind, noisy.variant
    for k, name in enumerate(_KEYS):
        missing = (kind == MISSING_KEY) & (variant % len(_KEYS) == k)
        broken[name] = _replace(broken[name], missing & (variant < len(_KEYS)), None)
        broken[name] = _replace(broken[name], missing & (variant >= len(_KEYS)), "")
    for k, text in enumerate(_BAD_TIMES):
        broken["ts"] = _replace(broken["ts"], (kind == BAD_TIMESTAMP) & (variant % len(_BAD_TIMES) == k), text)
    for k, text in enumerate(_BAD_ACTIONS):
        of_this = (kind == UNKNOWN_ACTION) & (variant % len(_BAD_ACTIONS) == k)
        broken["action"] = _replace(broken["action"], of_this, text)
    broken["query"] = _replace(broken["query"], kind == QUERY_TOO_LONG, "long " * (_LONG_QUERY_CHARS // 5))
    # A broken copy is a row of its own, not a second sending of the impression.
    own_id = pc.binary_join_element_wise(broken["event_id"], "x", "")
    broken["event_id"] = pc.if_else(np.isin(kind, BROKEN), own_id, broken["event_id"])
    return broken


def _replace(column: pa.Array, where: Bools, value: str | None) -> pa.Array:
    return pc.if_else(pa.array(where), pa.scalar(value, column.type), column) if where.any() else column


def _take(rows: Rows, index: Ints) -> Rows:
    return Rows(*(getattr(rows, field.name)[index] for field in dataclasses.fields(rows)))
