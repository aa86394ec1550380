"""Training rows as etl should export them, on top of reference.py and as plain."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

from etl.config import EtlConfig
from etl.contract.dates import DateRange
from tests.etl.reference import Event, PairKey, interactions, micros, unseen_rates


def begun(events: Iterable[Event], days: DateRange) -> dict[str, Event]:
    """request_id -> its earliest event, for the requests that begin in ``days``."""
    first: dict[str, Event] = {}
    for event in events:
        known = first.get(event["request_id"])
        if known is None or (event["ts"], event["event_id"]) < (known["ts"], known["event_id"]):
            first[event["request_id"]] = event
    return {name: event for name, event in first.items() if event["ds"] in days}


def training_rows(events: Sequence[Event], days: DateRange, config: EtlConfig) -> dict[tuple[str, str], dict[str, Any]]:
    """(request_id, item_id) -> labels, weight, position, history (item, action, seconds), cross as of D-1-lag."""
    lag = config.interactions.lag_days
    seen_by_day = {ds: interactions(events, as_of(ds, lag), config) for ds in days}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for request_id, start in begun(events, days).items():
        own = counted(events, request_id, start["ds"], config)
        oldest = (date.fromisoformat(start["ds"]) - timedelta(days=config.export.history_days)).isoformat()
        history = [
            event for event in sorted(events, key=lambda event: (event["ts"], event["event_id"]))
            if event["user_id"] == start["user_id"] and event["action"] != "impression"
            and event["ts"] < start["ts"] and event["ds"] >= oldest
        ]  # fmt: skip
        for item in {event["item_id"] for event in own}:
            done = {event["action"] for event in own if event["item_id"] == item}
            shown = [e["position"] for e in own if e["item_id"] == item and e["action"] == "impression"]
            rows[request_id, item] = {
                "ds": start["ds"],
                "ts": micros(start["ts"]) // 1_000_000,
                "query_key": start["query_key"],
                "segments": start["segments"],
                "labels": [int(bool(done & set(head.actions) and not done & set(head.veto))) for head in config.heads],
                "weight": next((w for action, w in config.export.row_weights.items() if action in done), 1.0),
                "acted": done != {"impression"},
                "position": min((position for position in shown if position is not None), default=-1),
                "history": [(e["item_id"], e["action"], micros(e["ts"]) // 1_000_000) for e in history],
                "cross": cross(seen_by_day[start["ds"]], start, item, config, events, as_of(start["ds"], lag)),
            }
    return rows


def counted(events: Iterable[Event], request_id: str, ds: str, config: EtlConfig) -> list[Event]:
    """The events of a request that began on ``ds`` that its rows may know."""
    last = (date.fromisoformat(ds) + timedelta(days=max(1, config.export.label_window_days))).isoformat()
    return [event for event in events if event["request_id"] == request_id and event["ds"] <= last]


def as_of(ds: str, lag: int) -> str:
    return (date.fromisoformat(ds) - timedelta(days=1 + lag)).isoformat()


def cross(
    seen: dict[PairKey, dict[str, float]], start: Event, item: str, config: EtlConfig, events: Sequence[Event], ds: str
) -> dict[str, float]:
    """Per segment (``all`` first) the pair's interactions and whether it has any; without, 0 but for rates."""
    query = start["query_key"]
    rates = seen.get((query, item, "all", "")) or unseen_rates(events, ds, seen, query, item, config)
    rates = {name: value for name, value in rates.items() if "_rate_" in name}
    features: dict[str, float] = {}
    for name in ("all", *config.events.segments):
        value = "" if name == "all" else start["segments"].get(name)
        known = seen.get((start["query_key"], item, name, value))
        columns = next(iter(seen.values()), {})
        features |= {f"{name}__{column}": (known or rates).get(column, 0.0) for column in (columns or rates)}
        features[f"{name}__has_history"] = float(known is not None)
    return features
