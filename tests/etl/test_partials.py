import pyarrow as pa
import pytest

from etl.config import FAMILIES
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.kernels.blobs import TABLE, Slices, hashed
from etl.partials import DayBuckets, daily_tables, interactions_daily, queries_daily
from etl.positions import position_priors
from tests.etl import reference
from tests.etl.logs import DAYS, QUERIES, contents, events_frame, raw_row, small_config

pytestmark = pytest.mark.spark


def test_daily_pairs_are_those_of_the_reference(built):
    daily = built.lake().read(c.INTERACTIONS_DAILY).collect()
    expected = reference.daily_pairs(built.events, built.config)
    found = {tuple(row[name] for name in ("ds", *c.PAIR_KEY)): row for row in daily}
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        counts = {name: value for name, value in row.items() if name != "users"}
        assert {name: found[key][name] for name in counts} == counts
        assert len(found[key][c.USERS_SKETCH]) == len(row["users"])


def test_daily_queries_are_those_of_the_reference(built):
    daily = built.lake().read(c.QUERIES_DAILY).collect()
    expected = reference.daily_queries(built.events, built.config)
    found = {tuple(row[name] for name in ("ds", *c.QUERY_KEY)): row.asDict() for row in daily}
    assert {key: {name: found[key][name] for name in row} for key, row in expected.items()} == expected
    assert found.keys() == expected.keys()


def daily_rows(frame, actions, segments, days=DAYS, tasks=2):
    return interactions_daily(daily_tables(frame, actions, segments, DayBuckets(days, 2), tasks), actions)


def events(spark, segments):
    config = small_config()
    rows = [raw_row("2024-02-29T10:00:00Z", request_id=f"r{n}", **values) for n, values in enumerate(segments)]
    return events_frame(spark, reference.kept(rows, DAYS, config)), config


def test_an_event_counts_under_all_and_each_segment_that_it_carries(spark):
    frame, config = events(spark, [{}, {"country": "US"}, {"country": "US", "gender": "f"}])
    daily = daily_rows(frame, config.events.actions, config.events.segments).collect()
    assert {(row.segment_name, row.segment_value): row.impression_cnt for row in daily} == {
        ("all", ""): 3,
        ("country", "US"): 2,
        ("gender", "f"): 1,
    }


def test_a_segment_that_is_not_configured_does_not_count(spark):
    frame, config = events(spark, [{"country": "US", "gender": "f"}])
    daily = queries_daily(frame, config.events.actions, ["gender"]).collect()
    assert {(row.segment_name, row.segment_value) for row in daily} == {("all", ""), ("gender", "f")}
    [only] = daily_rows(frame, config.events.actions, []).collect()
    assert (only.segment_name, only.segment_value) == ("all", "")


def test_a_day_depends_on_its_own_events_only(built):
    events = built.lake().read(c.EVENTS)
    settings = built.config.events
    whole = daily_rows(events, settings.actions, settings.segments)
    day = DateRange("2024-02-29", "2024-02-29")
    alone = daily_rows(events.where("ds = '2024-02-29'"), settings.actions, settings.segments, day, 3)
    assert contents(whole.where("ds = '2024-02-29'")) == contents(alone)


@pytest.mark.parametrize(
    "buckets", [DayBuckets(DAYS, 1), DayBuckets(DAYS, 4), DayBuckets(DAYS, 2, Slices((QUERIES[0],), 3))]
)
def test_tables_say_of_which_day_and_which_queries_they_are(built, buckets):
    settings = built.config.events
    tables = daily_tables(built.lake().read(c.EVENTS), settings.actions, settings.segments, buckets, 2)
    found = []
    for row in tables.select(*buckets.columns(), TABLE).collect():
        table = pa.ipc.open_stream(row[TABLE]).read_all()
        assert set(table["ds"].to_pylist()) == {row.ds}
        assert set((hashed(table, ["query_key"]) % row.buckets).tolist()) == {row.bucket}
        found += [(one["ds"], *(one[name] for name in c.PAIR_KEY)) for one in table.to_pylist()]
    assert sorted(found) == sorted(reference.daily_pairs(built.events, built.config))


def test_expected_actions_are_those_of_the_reference(built):
    config = small_config(families=FAMILIES)
    events, settings = built.lake().read(c.EVENTS), config.events
    positions = position_priors(events, settings.actions)
    buckets = DayBuckets(DAYS, 2)
    tables = daily_tables(events, settings.actions, settings.segments, buckets, 2, positions)
    expected = reference.daily_pairs(built.events, config)
    rows = interactions_daily(tables, settings.actions, expected=True).collect()
    found = {tuple(row[name] for name in ("ds", *c.PAIR_KEY)): row for row in rows}
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        figures = {name: value for name, value in row.items() if name != "users"}
        assert {name: found[key][name] for name in figures} == figures
    assert {row.click_expected for row in rows} > {0}
    assert position_priors(events, ["click"]) == {}
