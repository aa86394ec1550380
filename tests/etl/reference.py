"""What etl should compute, written down as plainly as possible: dicts, sets and loops, no Spark, no pandas.

Slow and short on purpose; a test that compares against it names the rule that it holds to.
"""

import hashlib
import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from etl.config import EtlConfig
from etl.contract.dates import DateRange

Raw = Mapping[str, Any]
Event = dict[str, Any]
PairKey = tuple[str, str, str, str]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def query_key(query: str) -> str:
    folded = unicodedata.normalize("NFKC", query).lower()
    spaced = "".join(" " if one.isspace() or unicodedata.category(one) == "Cc" else one for one in folded)
    return " ".join(word for word in spaced.split(" ") if word)


def instant(ts: Any) -> datetime | None:
    """ISO-8601 (UTC unless it says otherwise), or epoch seconds or milliseconds by magnitude."""
    try:
        number = float(ts)
    except (TypeError, ValueError):
        try:
            parsed = datetime.fromisoformat(str(ts))
        except ValueError:
            return None
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    seconds = number if abs(number) < 1e11 else number / 1000
    return EPOCH + timedelta(microseconds=round(seconds * 1e6))


def blank(value: Any) -> bool:
    return value is None or str(value).strip(" ") == ""


def hashed_id(row: Raw, ts: datetime | None) -> str:
    parts = [row[name] or "" for name in ("request_id", "user_id", "item_id", "action")]
    parts += [] if ts is None else [str(micros(ts))]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def micros(ts: datetime) -> int:
    return (ts - EPOCH) // timedelta(microseconds=1)


def typed(row: Raw, days: DateRange, config: EtlConfig) -> Event:
    """One raw row as an event with its row-level ``reason``; ds is the first of the range without a timestamp."""
    ts, query = instant(row["ts"]), row["query"]
    event = {name: row[name] for name in ("request_id", "user_id", "query", "item_id", "action")}
    event |= {
        "ts": ts,
        "query_key": None if query is None else query_key(query),
        "position": None if row.get("position") is None else int(row["position"]),
        "segments": {name: row[name] for name in config.events.segments if not blank(row.get(name))},
        "ds": days.start if ts is None else ts.date().isoformat(),
        "event_id": hashed_id(row, ts) if blank(row.get("event_id")) else row["event_id"],
    }
    return event | {"reason": row_reason(event, config)}


def row_reason(event: Event, config: EtlConfig) -> str | None:
    if any(blank(event[name]) for name in ("request_id", "user_id", "query_key", "item_id", "action")):
        return "missing_key"
    if event["ts"] is None:
        return "bad_timestamp"
    if event["action"] not in config.events.actions:
        return "unknown_action"
    return "query_too_long" if len(event["query"]) > config.events.max_query_chars else None


def judged(rows: Iterable[Raw], days: DateRange, config: EtlConfig) -> list[Event]:
    """Every raw row as an event with its final ``reason``: None for an event, 'outside_range' for other days."""
    events = [typed(row, days, config) for row in rows]
    by_id: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event["reason"] is None and event["ds"] <= days.end:
            by_id[event["event_id"]].append(event)
    for same in by_id.values():
        for later in sorted(same, key=_earliest_first)[1:]:
            later["reason"] = "duplicate"
    for event in events:
        if event["ds"] not in days:
            event["reason"] = "outside_range"
    left = Counter((event["user_id"], event["ds"]) for event in events if event["reason"] is None)
    for event in events:
        if event["reason"] is None and left[event["user_id"], event["ds"]] > config.events.max_events_per_user_day:
            event["reason"] = "bot"
    return events


def _earliest_first(event: Event) -> tuple[Any, ...]:
    position = -1 if event["position"] is None else event["position"]
    names = ("ts", "request_id", "user_id", "query", "item_id", "action")
    return (*(event[name] for name in names), position, sorted(event["segments"].items()))


def kept(rows: Iterable[Raw], days: DateRange, config: EtlConfig) -> list[Event]:
    return [event for event in judged(rows, days, config) if event["reason"] is None]


def segments_of(event: Event, config: EtlConfig) -> list[tuple[str, str]]:
    """Where an event counts: everywhere once, and once under each configured segment that it carries."""
    own = [(name, event["segments"][name]) for name in config.events.segments if name in event["segments"]]
    return [("all", ""), *own]


def daily_pairs(events: Iterable[Event], config: EtlConfig) -> dict[tuple[str, ...], dict[str, Any]]:
    """(ds, query_key, item_id, segment_name, segment_value) -> counts per action, the set of users."""
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    expected = expectations(events, config) if "coec" in config.interactions.families else None
    for event in events:
        for segment in segments_of(event, config):
            key = (event["ds"], event["query_key"], event["item_id"], *segment)
            empty = {f"{action}_cnt": 0 for action in config.events.actions} | {"users": set()}
            if expected is not None:
                empty |= {f"{action}_expected": 0 for action in acted(config)}
            row = rows.setdefault(key, empty)
            row[f"{event['action']}_cnt"] += 1
            if expected is not None and event["action"] == "impression":
                for action in acted(config):
                    place = -1 if event["position"] is None else event["position"]
                    row[f"{action}_expected"] += expected[event["ds"], place, action]
            row["users"].add(event["user_id"])
    return rows


def acted(config: EtlConfig) -> list[str]:
    return [action for action in config.events.actions if action != "impression"]


def expectations(events: Iterable[Event], config: EtlConfig) -> dict[tuple[str, int, str], int]:
    """(ds, position or -1, action) -> of a million impressions there how many it follows, pulled to the day's rate."""
    shown: dict[tuple[str, str, str], list[Event]] = defaultdict(list)
    for event in events:
        shown[event["ds"], event["request_id"], event["item_id"]].append(event)
    counts: Counter[tuple[str, int, str]] = Counter()
    whole: Counter[tuple[str, str]] = Counter()
    places = set()
    for (ds, _, _), same in shown.items():
        own = [(-1 if e["position"] is None else e["position"], e["action"]) for e in same]
        foremost = min([place for place, action in own if action == "impression"] or [place for place, _ in own])
        for place, action in own:
            at = place if action == "impression" else foremost
            places.add((ds, at))
            counts[ds, at, action] += 1
            whole[ds, action] += 1
    return {
        (ds, place, action): (
            1_000_000 * (counts[ds, place, action] * whole[ds, "impression"] + 100 * whole[ds, action])
            // (whole[ds, "impression"] * (counts[ds, place, "impression"] + 100))
            if whole[ds, "impression"] else 0
        )
        for ds, place in places for action in acted(config)
    }  # fmt: skip


def daily_queries(events: Iterable[Event], config: EtlConfig) -> dict[tuple[str, ...], dict[str, int]]:
    counts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    requests: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for event in events:
        for segment in segments_of(event, config):
            key = (event["ds"], event["query_key"], *segment)
            counts[key][f"{event['action']}_cnt"] += 1
            requests[key].add(event["request_id"])
    names = [f"{action}_cnt" for action in config.events.actions]
    return {key: {name: row[name] for name in names} | {"requests": len(requests[key])} for key, row in counts.items()}


def age_days(event: Event, ds: str) -> int:
    return (date.fromisoformat(ds) - date.fromisoformat(event["ds"])).days


class Counts:
    """Counts of one window of one ds, by whatever part of a key is asked."""

    def __init__(self, events: Iterable[Event], ds: str, days: int, config: EtlConfig):
        self.pairs: Counter[tuple[str, ...]] = Counter()
        self.queries: Counter[tuple[str, ...]] = Counter()
        self.total: Counter[str] = Counter()
        self.users: dict[PairKey, set[str]] = defaultdict(set)
        for event in events:
            if not 0 <= age_days(event, ds) < days:
                continue
            query, item, action = event["query_key"], event["item_id"], event["action"]
            self.total[action] += 1
            for segment in segments_of(event, config):
                self.pairs[(query, item, *segment, action)] += 1
                self.queries[(query, *segment, action)] += 1
                self.users[(query, item, *segment)].add(event["user_id"])

    def of_words(self, query: str, item: str, action: str) -> int:
        """The item's count under every query that shares a word with ``query``, once per shared word."""
        words = set(query.split(" "))
        return sum(
            count * len(words & set(other.split(" ")))
            for (other, its_item, name, _, its_action), count in self.pairs.items()
            if name == "all" and its_item == item and its_action == action
        )


def rate(counts: Counts, key: PairKey, action: str, prior: float) -> float:
    """Each level pulled towards the coarser one as if it had seen ``prior`` impressions of it."""
    query, item, name, value = key
    shown = "impression"
    level = counts.total[action] / counts.total[shown] if counts.total[shown] else 0.0
    steps = [
        (counts.queries[query, "all", "", action], counts.queries[query, "all", "", shown]),
        (counts.of_words(query, item, action), counts.of_words(query, item, shown)),
        (counts.pairs[query, item, "all", "", action], counts.pairs[query, item, "all", "", shown]),
    ]
    if name != "all":
        steps.append((counts.pairs[query, item, name, value, action], counts.pairs[query, item, name, value, shown]))
    for done, seen in steps:
        level = (done + prior * level) / (seen + prior)
    return level


def unseen_rates(
    events: Sequence[Event], ds: str, kept: Iterable[PairKey], query: str, item: str, config: EtlConfig
) -> dict[str, float]:
    """The rates of a pair that the table of ds does not hold: global, query, and words over the pairs that it holds."""
    held = {(one, thing) for one, thing, _, _ in kept}
    rates = {}
    for days in config.interactions.windows_days:
        counts = Counts(events, ds, days, config)
        known = Counts([e for e in events if (e["query_key"], e["item_id"]) in held], ds, days, config)
        for action in config.events.actions:
            level = counts.total[action] / counts.total["impression"] if counts.total["impression"] else 0.0
            for done, seen in (
                (counts.queries[query, "all", "", action], counts.queries[query, "all", "", "impression"]),
                (known.of_words(query, item, action), known.of_words(query, item, "impression")),
            ):
                prior = config.interactions.rate_prior_impressions
                level = (done + prior * level) / (seen + prior)
            rates[f"{action}_rate_{days}d"] = level
    return rates


def interactions(events: Sequence[Event], ds: str, config: EtlConfig) -> dict[PairKey, dict[str, float]]:
    """The rows of ``interactions`` of one ds: pair and segment -> every value column."""
    settings, actions = config.interactions, config.events.actions
    windows = {days: Counts(events, ds, days, config) for days in settings.windows_days}
    decays = {half: decayed(events, ds, half, config) for half in settings.half_lives_days}
    rows: dict[PairKey, dict[str, float]] = {}
    for key in windows[settings.longest_days].users:
        row: dict[str, float] = {}
        for days, counts in windows.items():
            for action in actions:
                count, whole = counts.pairs[(*key, action)], counts.queries[(key[0], *key[2:], action)]
                row[f"{action}_cnt_{days}d"] = count
                row[f"{action}_share_{days}d"] = count / whole if whole else 0.0
                row[f"{action}_rate_{days}d"] = rate(counts, key, action, settings.rate_prior_impressions)
            row[f"users_{days}d"] = len(counts.users.get(key, ()))
        row |= debiased(events, ds, key, windows, config) if "coec" in settings.families else {}
        row |= fresh_shares(events, ds, key, windows, config) if "fresh" in settings.families else {}
        for half, sums in decays.items():
            row |= {f"{action}_decay_hl{half}d": sums[(*key, action)] for action in actions}
        rows[key] = row
    return supported(rows, config)


def debiased(
    events: Sequence[Event], ds: str, key: PairKey, windows: Mapping[int, Counts], config: EtlConfig
) -> dict[str, float]:
    row = {}
    for days, counts in windows.items():
        expected: Counter[str] = Counter()
        for (day, *pair), figures in daily_pairs(events, config).items():
            if tuple(pair) == key and 0 <= (date.fromisoformat(ds) - date.fromisoformat(day)).days < days:
                expected.update({action: figures[f"{action}_expected"] for action in acted(config)})
        for action in acted(config):
            shown = counts.total["impression"]
            usual = config.interactions.rate_prior_impressions * (counts.total[action] / shown if shown else 0.0)
            done, could = counts.pairs[(*key, action)] + usual, expected[action] / 1e6 + usual
            row[f"{action}_coec_{days}d"] = done / could if could else 1.0
    return row


def fresh_shares(
    events: Sequence[Event], ds: str, key: PairKey, windows: Mapping[int, Counts], config: EtlConfig
) -> dict[str, float]:
    settings = config.interactions
    ages = defaultdict(list)
    for event in events:
        if 0 <= age_days(event, ds) < settings.longest_days:
            ages[event["item_id"]].append(age_days(event, ds))
    fresh = {item for item, found in ages.items() if max(found) < settings.fresh_days}
    row = {}
    for days, counts in windows.items():
        for action in config.events.actions:
            whole = sum(counts.pairs[(key[0], item, *key[2:], action)] for item in fresh)
            own = counts.pairs[(*key, action)] if key[1] in fresh else 0
            row[f"{action}_fresh_share_{days}d"] = own / whole if whole else 0.0
    return row


def decayed(events: Iterable[Event], ds: str, half_life: int, config: EtlConfig) -> dict[tuple[str, ...], float]:
    terms: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for event in events:
        age = age_days(event, ds)
        if 0 <= age < config.interactions.longest_days:
            for segment in segments_of(event, config):
                key = (event["query_key"], event["item_id"], *segment, event["action"])
                terms[key].append(0.5 ** (age / half_life))
    return defaultdict(float, {key: math.fsum(values) for key, values in terms.items()})


def moments(daily: Iterable[Any], actions: Sequence[str]) -> dict[str, list[list[int]]]:
    """ds -> [sum of n, sum of n (n - 1)] of each action, over the pairs of rows of ``interactions_daily``."""
    sums: dict[str, list[list[int]]] = {}
    for row in daily:
        if row["segment_name"] == "all":
            of_day = sums.setdefault(row["ds"], [[0, 0] for _ in actions])
            for total, action in zip(of_day, actions, strict=True):
                n = row[f"{action}_cnt"]
                total[0] += n
                total[1] += n * (n - 1)
    return sums


def supported(rows: dict[PairKey, dict[str, float]], config: EtlConfig) -> dict[PairKey, dict[str, float]]:
    """Enough users in the longest window; of those, each query's best items by decayed engagement, ties by item_id."""
    settings = config.interactions
    enough = {key: row for key, row in rows.items() if row[f"users_{settings.longest_days}d"] >= settings.min_users}
    if settings.top_items_per_query == 0:
        return enough
    engagement: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for (query, item, name, _), row in enough.items():
        if name == "all":
            names = [f"{action}_decay_hl{settings.half_lives_days[0]}d" for action in config.engagement_actions]
            engagement[query].append((-sum(row[name] for name in names), item))
    best = {query: {item for _, item in sorted(ranked)[: settings.top_items_per_query]}
            for query, ranked in engagement.items()}  # fmt: skip
    return {key: row for key, row in enough.items() if key[1] in best.get(key[0], ())}
