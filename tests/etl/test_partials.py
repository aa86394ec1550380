import pyarrow as pa
import pytest

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.kernels.blobs import TABLE
from etl.partials import daily_tables, ds_of, interactions_daily, queries_daily
from tests.etl import reference
from tests.etl.logs import DAYS, contents, events_frame, raw_row, small_config

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
    return interactions_daily(daily_tables(frame, actions, segments, days, tasks), actions)


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


def test_a_table_is_of_one_day_which_its_bucket_tells(built):
    settings = built.config.events
    for tasks in (2, 40):
        tables = daily_tables(built.lake().read(c.EVENTS), settings.actions, settings.segments, DAYS, tasks)
        for row in tables.select(ds_of(DAYS, tasks).alias("ds"), TABLE).collect():
            assert set(pa.ipc.open_stream(row[TABLE]).read_all()["ds"].to_pylist()) == {row.ds}
