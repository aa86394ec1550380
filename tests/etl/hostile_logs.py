"""Raw logs of which a known share is bad, as files of each source; what becomes of every row is known beforehand."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from etl.contract.dates import DateRange, shift_ds

FIRST = "2024-03-01"
#: One day of the log each.
SHARES = (0.001, 0.01, 0.1, 0.5)
DAYS = DateRange(FIRST, shift_ds(FIRST, len(SHARES) - 1))
ROWS_PER_DAY = 1000
#: A raw column that is none of ours, with what Spark, SQL and Delta take for syntax in its name.
STRANGE = "a`b.c; d'e=*"
COLUMNS = ("request_id", "ts", "user_id", "query", "item_id", "action", "event_id", "position", "country", STRANGE)
CSV, JSON, PARQUET, SIMULATED = SOURCES = ("csv", "json", "parquet", "simulated")

MISSING, BAD_TS, UNKNOWN, LONG, DUPLICATE = (
    "missing_key", "bad_timestamp", "unknown_action", "query_too_long", "duplicate",
)  # fmt: skip

Row = dict[str, Any]


@dataclass(frozen=True)
class Badness:
    """What is wrong with a row. ``reason`` None: it is an event all the same."""

    name: str
    values: Row
    reason: str | None
    first_day: bool = False
    """It has no day of its own, so it stands under the first of the range."""
    only: tuple[str, ...] = SOURCES


def _bad(name: str, reason: str | None, **values: Any) -> Badness:
    return Badness(name, values, reason, "ts" in values)


#: In text files a row may be no row at all; Parquet has its types.
BROKEN_LINE, RAW_BYTES = "a broken line", "bytes that are not UTF-8"
KINDS = (
    *(_bad(f"no {name}", MISSING, **{name: None}) for name in ("request_id", "user_id", "query", "item_id", "action")),
    _bad("a blank id", MISSING, item_id="   "),
    _bad("a query of control characters", MISSING, query="\x00\x01 \x7f"),
    _bad("a timestamp in words", BAD_TS, ts="soon"),
    _bad("a day that is none", BAD_TS, ts="2024-02-30T10:00:00Z"),
    _bad("no timestamp", BAD_TS, ts=None),
    _bad("a number beyond all times", BAD_TS, ts="1e400"),
    _bad("a time without a day", BAD_TS, ts="10:00:00"),
    _bad("an unknown action", UNKNOWN, action="hover"),
    _bad("SQL for an action", UNKNOWN, action="click'; DROP TABLE events; --"),
    _bad("a huge query", LONG, query="red shoes " * 20_000),
    _bad("a negative position", None, position="-7"),
    _bad("a position that is no number", None, position="first"),
    _bad("a position beyond all numbers", None, position="9" * 400),
    _bad("a huge id", None, user_id="u" * 100_000),
    _bad("an id that is a path", None, item_id="../../etc/passwd"),
    _bad("an id that is a formula", None, item_id='=HYPERLINK("http://x")`\'${7*7}'),
    Badness("the same row again", {}, DUPLICATE),
    Badness(RAW_BYTES, {"user_id": b"u\xff\xfe"}, MISSING),
    Badness(BROKEN_LINE, {}, MISSING, first_day=True, only=(CSV, JSON)),
    Badness("an object for a timestamp", {"ts": {"at": 1}}, BAD_TS, first_day=True, only=(JSON,)),
    Badness("numbers for texts", {"user_id": 7, "query": 3.5}, None, only=(JSON,)),
    Badness("an object for an id", {"item_id": {"id": None}}, None, only=(JSON,)),
)


@dataclass(frozen=True)
class HostileLog:
    rows: list[tuple[str, Row | None]]
    """(day, values); None is a broken line."""
    expected: Counter[tuple[str, str | None]]
    """(ds, reason or None) -> rows."""


def good(day: str, number: int) -> Row:
    second = f"{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}"
    return {
        "request_id": f"{day}-{number}", "ts": f"{day}T{second}Z", "user_id": f"u{number % 97}", "query": "red shoes",
        "item_id": f"i{number % 13}", "action": ("impression", "click")[number % 2], "event_id": None,
        "position": str(number % 5), "country": "US", STRANGE: "kept",
    }  # fmt: skip


def hostile_log(source: str, shares: Sequence[float] = SHARES) -> HostileLog:
    """A day of ROWS_PER_DAY rows for each share, the kinds of badness in turn."""
    rows: list[tuple[str, Row | None]] = []
    expected: Counter[tuple[str, str | None]] = Counter()
    kinds = [kind for kind in KINDS if source in kind.only]
    turn = 0
    for place, share in enumerate(shares):
        day = shift_ds(FIRST, place)
        bad = round(ROWS_PER_DAY * share)
        for number in range(ROWS_PER_DAY - bad):
            rows.append((day, good(day, number)))
            expected[day, None] += 1
        for number in range(bad):
            kind = kinds[turn % len(kinds)]
            # Those that repeat a row of the day, and those that are rows of their own.
            own = 0 if kind.reason == DUPLICATE else ROWS_PER_DAY + number
            row = None if kind.name == BROKEN_LINE else good(day, own) | kind.values
            rows.append((day, row))
            # Of a JSON line that is not UTF-8 nothing is known.
            dayless = kind.first_day or (source, kind.name) == (JSON, RAW_BYTES)
            expected[FIRST if dayless else day, kind.reason] += 1
            turn += 1
    return HostileLog(rows, expected)


def write_log(source: str, log: HostileLog, folder: Path) -> Path:
    """The log as files of a source, a file a day."""
    folder.mkdir(parents=True)
    for day in dict.fromkeys(day for day, _ in log.rows):
        rows = [row for of_day, row in log.rows if of_day == day]
        if source == CSV:
            _write_csv(rows, folder / f"{day}.csv")
        elif source == JSON:
            (folder / f"{day}.json").write_bytes(b"".join(map(_json_line, rows)))
        else:
            _write_parquet([row for row in rows if row is not None], folder / f"{day}.parquet", source == SIMULATED)
    return folder


def _write_csv(rows: list[Row | None], path: Path) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            if row is None:
                file.write("half,a\n")
            else:
                writer.writerow(["" if row[name] is None else _as_text(row[name]) for name in COLUMNS])


def _as_text(value: Any) -> str:
    return value.decode("utf-8", errors="surrogateescape") if isinstance(value, bytes) else str(value)


def _json_line(row: Row | None) -> bytes:
    if row is None:
        return b'{"request_id": "half", "ts": \n'
    plain = {name: _as_text(value) if isinstance(value, bytes) else value for name, value in row.items()}
    return json.dumps(plain, ensure_ascii=False).encode("utf-8", errors="surrogateescape") + b"\n"


def _write_parquet(rows: list[Row], path: Path, simulated: bool) -> None:
    """Text in every column, as the simulator has it but for its own extra columns."""
    columns = {name: pa.array([_as_bytes(row[name]) for row in rows], pa.binary()) for name in COLUMNS}
    # Arrow would not make a string of bytes that are not UTF-8; other writers do.
    texts = {name: pa.Array.from_buffers(pa.string(), len(array), array.buffers()) for name, array in columns.items()}
    if simulated:
        texts |= {name: pa.array([name] * len(rows)) for name in ("gender", "device")}
    pq.write_table(pa.table(texts), path)


def _as_bytes(value: Any) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else str(value).encode()
