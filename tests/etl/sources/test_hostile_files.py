"""Random files of each source: every row becomes an event or a refusal, or the file is refused with an explanation.

PRERANK_FUZZ says how many files of each kind are tried; a few show that the net holds.
"""

import datetime
import json
import os
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl.config import EventsConfig
from etl.contract.columns import RAW_REQUIRED
from etl.contract.dates import DateRange
from etl.contract.errors import PrerankError
from etl.events import accepted, first_of_each_id, rejected, typed_rows, without_bots
from etl.sources import get_source

pytestmark = pytest.mark.spark

DAYS = DateRange("2024-02-28", "2024-02-29")
CONFIG = EventsConfig(segments=("country",))
few = settings(
    max_examples=int(os.environ.get("PRERANK_FUZZ") or 3),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)

#: Names that Spark, Delta or we might take for something else.
STRANGE = ("a.b", "a`b", "`", "", " ", "*", "a b", "a'b", 'a"b', "_corrupt_record", "é", "x=1", "\t")
OURS = (*RAW_REQUIRED, "event_id", "position", "country", "Query", "TS", "raw", "reason", "ds", "run_id", "query_key")
TIMES = ("2024-02-28T10:00:00Z", "2024-02-29", "1709164800", 1709164800, 1709164800000, "soon", -1, 1e30, "0")
TEXTS = ("u1", "click", "impression", "red shoes", "\x00", "\ufffd", "9" * 40)
names = st.one_of(st.sampled_from(OURS), st.sampled_from(STRANGE), st.text("abAB.`'\"{}[]$-", min_size=1, max_size=4))
times, texts = st.sampled_from(TIMES), st.one_of(st.text(max_size=8), st.sampled_from(TEXTS))
scalars = st.one_of(times, texts, st.none(), st.booleans(), st.integers(), st.floats())


def nested(inner):
    return st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)


values = st.recursive(scalars, nested, max_leaves=5)
good = st.fixed_dictionaries({name: times if name == "ts" else texts for name in RAW_REQUIRED})
rows = st.one_of(good, st.builds(lambda row, more: row | more, good, st.dictionaries(names, values, max_size=3)))
json_lines = st.one_of(rows.map(json.dumps), st.text(max_size=20), st.just("{"), values.map(json.dumps))


def explained(spark, source, path):
    """What becomes of a file's rows: (read, events, refused), or None where the file is refused with an explanation."""
    try:
        raw = get_source(source).read(spark, str(path), "events", {})
    except PrerankError as error:
        return None if str(error) else (1, 0, 0)
    typed = first_of_each_id(typed_rows(raw, CONFIG, DAYS), DAYS)
    judged = without_bots(typed, CONFIG)
    outside = judged.where("reason = 'outside_range'").count()
    # Python takes every text that comes out.
    events, refused = list(accepted(judged).toLocalIterator()), list(rejected(judged, "run").toLocalIterator())
    return raw.count() - outside, len(events), len(refused)


def require_balance(outcome):
    assert outcome is None or outcome[0] == outcome[1] + outcome[2]


@few
@given(lines=st.lists(json_lines, max_size=30))
def test_random_json_lines(spark, tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("fuzz") / "log.json"
    path.write_bytes("\n".join(lines).encode("utf-8", errors="surrogatepass"))
    require_balance(explained(spark, "json", path))


@few
@given(
    header=st.lists(names, max_size=3),
    lines=st.lists(st.text('a,"\n\r\\;1\x00é', max_size=20), max_size=20),
    whole=st.lists(good, max_size=5),
)
def test_random_csv_lines(spark, tmp_path_factory, header, lines, whole):
    path = tmp_path_factory.mktemp("fuzz") / "log.csv"
    plain = [",".join(str(value) for value in row.values()) for row in whole]
    text = "\n".join([",".join([*RAW_REQUIRED, *header]), *plain, *lines])
    path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    require_balance(explained(spark, "csv", path))


@few
@given(content=st.binary(max_size=200), source=st.sampled_from(["json", "csv", "parquet", "ubi"]))
def test_random_bytes(spark, tmp_path_factory, content, source):
    path = tmp_path_factory.mktemp("fuzz") / "log.bin"
    head = {"json": b'{"ts": 1}\n', "ubi": b'{"query_id": "q"}\n', "csv": ",".join(RAW_REQUIRED).encode() + b"\n"}
    path.write_bytes(head.get(source, b"PAR1") + content + (b"PAR1" if source == "parquet" else b""))
    require_balance(explained(spark, source, path))


_ONE = datetime.datetime(2024, 2, 28, 10, 0, tzinfo=datetime.UTC)
TYPES = {
    pa.string(): "u1", pa.large_string(): "u1", pa.binary(): b"\xff\x00", pa.int8(): 1, pa.int64(): 1709164800,
    pa.uint64(): 2**63, pa.float32(): 1.5, pa.float64(): float("nan"), pa.bool_(): True, pa.date32(): _ONE.date(),
    pa.timestamp("us"): _ONE, pa.timestamp("ms", "UTC"): _ONE, pa.decimal128(38, 10): Decimal("7.5"),
    pa.list_(pa.string()): ["a", None], pa.struct([("a.b", pa.int32())]): {"a.b": 1},
    pa.map_(pa.string(), pa.int32()): [("k", 1)], pa.null(): None, pa.time64("us"): _ONE.time(),
    pa.list_(pa.struct([("x", pa.string())])): [{"x": "y"}], pa.dictionary(pa.int8(), pa.string()): "click",
    pa.timestamp("ns"): _ONE,
}  # fmt: skip


@few
@given(
    kinds=st.lists(st.sampled_from(list(TYPES)), min_size=len(RAW_REQUIRED), max_size=len(RAW_REQUIRED)),
    more=st.dictionaries(names, st.sampled_from(list(TYPES)), max_size=4),
    count=st.integers(0, 3),
)
def test_parquet_of_random_schemas(spark, tmp_path_factory, kinds, more, count):
    path = tmp_path_factory.mktemp("fuzz") / "log.parquet"
    # One name twice, but for its case, is no file that Spark reads; it has its own test.
    columns = {**more, **dict(zip(RAW_REQUIRED, kinds, strict=True))}
    pq.write_table(pa.table({name: pa.array([TYPES[kind]] * count, kind) for name, kind in columns.items()}), path)
    require_balance(explained(spark, "parquet", path))
