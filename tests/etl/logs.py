"""Small search logs for tests, as plain rows and as the frames that ingest reads."""

import random
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from etl.config import (
    USUAL_FAMILIES,
    EtlConfig,
    EventsConfig,
    ExportConfig,
    HeadConfig,
    InteractionsConfig,
    ItemsConfig,
    LakeConfig,
)
from etl.contract.dates import DateRange, shift_ds

Raw = dict[str, Any]

#: The leap day lies inside, and 2024-03-01 stays without events.
DAYS = DateRange("2024-02-26", "2024-03-03")
EMPTY_DAY = "2024-03-01"
#: Days to export: their interactions, a day earlier, lie in DAYS.
EXPORT_DAYS = DateRange("2024-02-27", "2024-03-03")
SNAPSHOTS = ("2024-02-26", "2024-02-29")
#: Of a configuration that no lake belongs to: a gate that writes its pages there leaves the checkout alone.
NO_LAKE = Path(tempfile.gettempdir()) / "prerank-tests-without-a-lake"

RAW_SCHEMA = (
    "request_id string, ts string, user_id string, query string, item_id string, action string, event_id string, "
    "position string, country string, gender string"
)
RAW_COLUMNS = [column.split()[0] for column in RAW_SCHEMA.split(", ")]

EVENT_SCHEMA = (
    "event_id string, request_id string, ts timestamp, user_id string, query string, query_key string, item_id string, "
    "action string, position int, segments map<string,string>, ds string"
)

QUERIES = (
    "red shoes",
    " Red  SHOES",
    "shoes",
    "blue\tshoes",
    "Caf\u00e9 table",
    "CAFE\u0301 TABLE",
    "\uff26\uff35\uff2c\uff2c width",
)
ITEMS = tuple(f"i{number}" for number in range(6))
USERS = (("u1", "US", "female"), ("u2", "US", None), ("u3", "", "male"), ("u4", None, None), ("007", "DE", "female"))


def small_config(
    root: Path | str = NO_LAKE, segments: tuple[str, ...] = ("country", "gender"), **interactions: Any
) -> EtlConfig:
    """Three actions, two segments, short windows: every rule shows within a week."""
    settings = {"windows_days": (2, 5), "half_lives_days": (2, 3), "rate_prior_impressions": 4.0, **interactions}
    return EtlConfig(
        lake=LakeConfig(root=str(root)),
        events=EventsConfig(
            actions=("impression", "click", "purchase"),
            segments=segments,
            max_query_chars=40,
            max_events_per_user_day=24,
            max_reject_share=0.6,
        ),
        interactions=InteractionsConfig(**settings),
        items=ItemsConfig(text=("title", "brand"), categories=("brand",), numerics=("price",), dense=("vector",)),
        heads=(HeadConfig("engagement", ("click", "purchase"), 20.0), HeadConfig("purchase", ("purchase",))),
        export=ExportConfig(history_days=4, cross_families=interactions.get("families", USUAL_FAMILIES)),
    )


def raw_row(ts: str, **values: Any) -> Raw:
    """One raw row; whatever is not given has a usual value."""
    usual = {"request_id": "r1", "user_id": "u1", "query": "red shoes", "item_id": "i1", "action": "impression"}
    return dict.fromkeys(RAW_COLUMNS) | usual | {"ts": ts} | values


def raw_log(spark: SparkSession, rows: Iterable[Raw]) -> DataFrame:
    return spark.createDataFrame([tuple(row[name] for name in RAW_COLUMNS) for row in rows], RAW_SCHEMA)


def events_frame(spark: SparkSession, events: Sequence[Raw]) -> DataFrame:
    """A frame of the shape of ``events`` from a reference's events."""
    names = [column.split()[0] for column in EVENT_SCHEMA.split(", ")]
    return spark.createDataFrame([tuple(event[name] for name in names) for event in events], EVENT_SCHEMA)


def request(number: int, begin: datetime, draw: random.Random) -> list[Raw]:
    """A request: two or three items shown, some clicked, fewer bought; a click may fall on the next day."""
    user, country, gender = draw.choice(USERS)
    query, rows = draw.choice(QUERIES), []
    for position, item in enumerate(draw.sample(ITEMS, draw.choice((2, 3)))):
        when, actions = begin, ["impression"]
        actions += ["click"] if draw.random() < 0.5 else []
        actions += ["purchase"] if len(actions) == 2 and draw.random() < 0.4 else []
        for action in actions:
            rows.append(
                raw_row(
                    when.isoformat(),
                    request_id=f"r{number}",
                    user_id=user,
                    query=query,
                    item_id=item,
                    action=action,
                    position=str(position) if action == "impression" else None,
                    country=country,
                    gender=gender,
                )
            )
            when += timedelta(seconds=draw.choice((1, 40, 900)))
    return rows


def random_log(days: Sequence[str], requests_per_day: int, seed: int) -> list[Raw]:
    """Requests spread over whole days; the last is acted on after midnight if the next day is one of ``days``."""
    draw, rows = random.Random(seed), []
    for day, ds in enumerate(days):
        midnight = datetime.fromisoformat(ds).replace(tzinfo=UTC)
        for number in range(requests_per_day):
            late = number == requests_per_day - 1 and shift_ds(ds, 1) in days
            begin = midnight + timedelta(seconds=86_390 if late else draw.randrange(84_000))
            rows += request(day * requests_per_day + number, begin, draw)
    return rows


def edge_rows() -> list[Raw]:
    """Rows at the edges of days, refused ones, and ids that come again."""
    same = {"request_id": "e1", "user_id": "u2", "item_id": "i1", "query": "shoes"}
    bot = [
        raw_row(f"2024-02-28T03:00:{second:02d}Z", user_id="bot", request_id=f"b{second}", item_id="i2")
        for second in range(25)
    ]
    return [
        raw_row("2024-02-28T00:00:00Z", **same),
        raw_row("2024-02-28T23:59:59.999999Z", **same | {"request_id": "e2"}),
        raw_row("1709164800", **same | {"request_id": "e3", "item_id": "i9"}),  # 2024-02-29T00:00:00Z
        raw_row("1709251199999", **same | {"request_id": "e4", "item_id": "i9"}),  # the last millisecond of that day
        raw_row("2024-02-29T01:30:00+02:00", **same | {"request_id": "e5"}),  # still the 28th in UTC
        raw_row("2024-02-27T10:00:00", event_id="again", **same | {"request_id": "e6"}),
        raw_row("2024-02-27T09:00:00", event_id="again", **same | {"request_id": "e7"}),
        raw_row("2024-02-28T10:00:00", event_id="again", **same | {"request_id": "e8"}),
        raw_row("2024-02-27T10:00:00Z", **same | {"request_id": "e9"}),
        raw_row("2024-02-27T10:00:00Z", **same | {"request_id": "e9"}),
        raw_row("2024-02-25T23:59:59.999999Z", **same | {"request_id": "before"}),
        raw_row("2024-03-04T00:00:00Z", **same | {"request_id": "after"}),
        raw_row("2024-02-28T10:00:00Z", user_id=" "),
        raw_row("2024-02-28T10:00:00Z", query="\u00a0\t"),
        raw_row("2024-02-28T10:00:00Z", item_id=None, action="hover"),
        raw_row("2024-02-30T10:00:00Z"),
        raw_row("soon", action="hover"),
        raw_row("2024-02-28T10:00:00Z", action="hover"),
        raw_row("2024-02-28T10:00:00Z", query="long " * 10),
        *bot,
    ]


def sample_log() -> list[Raw]:
    return random_log([ds for ds in DAYS if ds != EMPTY_DAY], 6, seed=3) + edge_rows()


def sample_items(ds: str) -> list[Raw]:
    """A catalogue snapshot; titles and prices tell it from other days', and i5 is not in it."""
    return [
        {"item_id": item, "title": f"{item} of {ds}", "brand": brand, "price": price, "vector": [float(number), 0.5]}
        for number, (item, brand, price) in enumerate(
            zip(ITEMS[:5], ("acme", "bolt", None, "", "acme"), ("1.5", None, "x", "3", f"{int(ds[-2:])}"), strict=True)
        )
    ]


def items_frame(spark: SparkSession, rows: Sequence[Raw]) -> DataFrame:
    names = ("item_id", "title", "brand", "price", "vector")
    schema = "item_id string, title string, brand string, price string, vector array<double>"
    return spark.createDataFrame([tuple(row[name] for name in names) for row in rows], schema)


def contents(frame: DataFrame, without: Sequence[str] = ("run_id",)) -> list[tuple[Any, ...]]:
    """All rows as plain tuples in an order of their own: equal lists mean equal tables, doubles to the last bit."""
    kept = frame.select(*sorted(name for name in frame.columns if name not in without))
    return sorted((tuple(_plain(value) for value in row) for row in kept.collect()), key=repr)


def _plain(value: Any) -> Any:
    return tuple(sorted(value.items())) if isinstance(value, dict) else value
