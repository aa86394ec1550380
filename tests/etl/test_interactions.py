"""The windowed table against the reference, and the job that builds it."""

import dataclasses
import random

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from etl import interactions
from etl.config import FAMILIES
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.errors import GateError, MissingDataError
from etl.exchange import Tasks, scattered
from etl.ingest import ingest_events
from etl.interactions import backfill_interactions, build_interactions
from etl.kernels.blobs import hashed
from etl.kernels.tables import windows_of
from etl.lake import Lake
from etl.partials import DayBuckets, daily_tables, interactions_daily
from etl.plan import DERIVED, FRESH, STALE, TILES, lake_plan
from etl.priors import priors
from etl.quality.profiles import profile
from etl.quality.suites import suite
from etl.tiles import covers
from etl.windows import family_columns, plain_rows, windowed
from tests.etl import reference
from tests.etl.logs import DAYS, EMPTY_DAY, QUERIES, contents, events_frame, random_log, raw_log, raw_row, small_config

pytestmark = pytest.mark.spark


def assert_same_rows(rows, events, ds, config):
    """Counts and users exactly, shares, rates and decays to 1e-9."""
    expected = reference.interactions(events, ds, config)
    found = {tuple(row[name] for name in c.PAIR_KEY): row.asDict() for row in rows if row.ds == ds}
    assert found.keys() == expected.keys()
    for key, full in expected.items():
        row = {name: value for name, value in full.items() if name in found[key]}
        values = {name: found[key][name] for name in row}
        whole = {name for name, value in row.items() if isinstance(value, int)}
        assert {name: values[name] for name in whole} == {name: row[name] for name in whole}, key
        assert values == pytest.approx(row, rel=1e-9, abs=0), key


def planned(written) -> list[tuple[str, str]]:
    """What was written of the tables that plans know."""
    return [(one.table, str(one.days)) for one in written if one.table in DERIVED]


def windowed_log(spark, events, days, config):
    """The table without writing anything."""
    frame = events_frame(spark, events)
    segments, actions = config.events.segments, config.events.actions
    daily = interactions_daily(daily_tables(frame, actions, segments, DayBuckets(DAYS, 2), 2), actions)
    return windowed_days(daily, days, config)


def windowed_days(daily, days, config):
    """From rows of interactions_daily, by windows that are too short for longer tiles."""
    parts = covers(days, config.interactions.windows_days)
    tables = tables_of_days(daily, parts)
    rated = "rate" in config.interactions.families
    actions = config.events.actions
    sums = {ds: np.array(of_day) for ds, of_day in reference.moments(daily.collect(), actions).items()}
    before = priors(sums, days, actions, config.interactions) if rated else None
    return plain_rows(windowed(tables, parts, days, before, config, Tasks(2, 4)), config)


def tables_of_days(daily, parts):
    """As they lie in the lake, cut into two."""
    assert {len(part) for part in parts} == {1}
    places = {part.start: place for place, part in enumerate(parts)}

    def place(table):
        part = np.array([places[ds] for ds in table["ds"].to_pylist()], dtype=np.int64)
        return 2 * part + hashed(table, ["query_key"]) % 2

    tables = scattered(daily.where(F.col("ds").isin(list(places))), place)
    part = F.floor(F.col("bucket") / 2).cast("int").alias("part")
    return tables.select(F.pmod("bucket", F.lit(2)).alias("bucket"), F.lit(2).alias("buckets"), part, "table")


def test_every_value_of_every_day_is_that_of_the_reference(built):
    rows = built.lake().read(c.INTERACTIONS).collect()
    for ds in DAYS:
        assert_same_rows(rows, built.events, ds, built.config)
    assert {row.ds for row in rows} == set(DAYS)


def test_a_day_without_events_still_has_its_windows(built):
    lake = built.lake()
    assert lake.read(c.EVENTS, DateRange(EMPTY_DAY, EMPTY_DAY)).count() == 0
    [row] = lake.read(c.INTERACTIONS).where(f"ds = '{EMPTY_DAY}' AND item_id = 'i9' AND segment_name = 'all'").collect()
    # Two impressions on the leap day, at its first instant and in its last millisecond.
    assert (row.impression_cnt_2d, row.impression_cnt_5d) == (2, 2)
    assert row.impression_decay_hl2d == pytest.approx(2 * 0.5**0.5, rel=1e-9)


def test_the_columns_are_the_contract(built):
    frame = built.lake().read(c.INTERACTIONS)
    values = [f"{action}_{kind}_{days}d" for kind in ("cnt", "share", "rate")
              for action in built.config.events.actions for days in (2, 5)]  # fmt: skip
    decays = [f"{action}_decay_hl{half}d" for action in built.config.events.actions for half in (2, 3)]
    assert frame.columns == ["ds", *c.PAIR_KEY, *values, *decays, "users_2d", "users_5d"]
    kinds = dict(frame.dtypes)
    assert {kinds[name] for name in frame.columns if "_cnt_" in name or name.startswith("users")} == {"bigint"}
    assert {kinds[name] for name in (*values[6:], *decays)} == {"double"}


@pytest.mark.parametrize(
    "settings_",
    [
        {"min_users": 2, "top_items_per_query": 2},
        {"windows_days": (3, 1), "half_lives_days": (1,), "top_items_per_query": 1, "rate_prior_impressions": 0.5},
    ],
)
def test_support_windows_and_priors_follow_the_settings(built, settings_):
    config = small_config(**settings_)
    days = DateRange("2024-02-29", "2024-03-01")
    rows = windowed_log(built.spark, built.events, days, config).collect()
    for ds in days:
        assert_same_rows(rows, built.events, ds, config)


@pytest.mark.parametrize("families", [("cnt",), ("share", "users"), ("decay", "cnt", "rate")])
def test_only_the_configured_families_are_written_and_judged(built, families):
    ds, config = "2024-02-29", small_config(families=families, top_items_per_query=0)
    frame = windowed_log(built.spark, built.events, DateRange(ds, ds), config)
    full = reference.interactions(built.events, ds, small_config(top_items_per_query=0))
    assert frame.columns == ["ds", *c.PAIR_KEY, *(name for one in families for name in family_columns(one, config))]
    names = frame.columns[5:]
    found = {tuple(row[name] for name in c.PAIR_KEY): [row[name] for name in names] for row in frame.collect()}
    assert found.keys() == full.keys()
    for key, values in found.items():
        assert values == pytest.approx([full[key][name] for name in names], rel=1e-9, abs=0), key
    [row] = profile(c.INTERACTIONS, frame, config)
    assert {row[bound.column] for bound in suite(c.INTERACTIONS, config) if bound.column != "rows"} == {0}


def test_an_event_leaves_a_window_on_the_day_its_age_is_the_window(spark):
    config = small_config(windows_days=(2, 3))
    events = reference.kept([raw_row("2024-02-28T00:00:00Z", action="click")], DAYS, config)
    rows = (
        windowed_log(spark, events, DateRange("2024-02-27", "2024-03-02"), config)
        .where("segment_name = 'all'")
        .collect()
    )
    assert {row.ds: (row.click_cnt_2d, row.click_cnt_3d) for row in rows} == {
        "2024-02-28": (1, 1),
        "2024-02-29": (1, 1),
        "2024-03-01": (0, 1),
    }


def test_every_family_at_once_is_that_of_the_reference(built, copied):
    ds, config = "2024-03-01", small_config(families=FAMILIES, fresh_days=2)
    lake, _ = copied(c.EVENTS, c.RUNS)
    build_interactions(lake, config, DateRange(ds, ds))
    rows = lake.read(c.INTERACTIONS)
    assert_same_rows(rows.collect(), built.events, ds, config)
    assert set(rows.columns) == {"ds", *c.PAIR_KEY, *(n for one in FAMILIES for n in family_columns(one, config))}


def test_a_range_in_one_job_is_its_days_built_alone_to_the_last_bit(built):
    lake = built.lake()
    daily = lake.read(c.INTERACTIONS_DAILY)
    for ds in ("2024-02-29", "2024-03-03"):
        alone = windowed_days(daily.repartition(3), DateRange(ds, ds), built.config)
        together = lake.read(c.INTERACTIONS, DateRange(ds, ds))
        assert contents(alone) == contents(together)


@pytest.mark.slow
def test_windows_over_tiles_are_exact_and_a_changed_day_costs_its_own_tile_only(spark, tmp_path, monkeypatch):
    monkeypatch.setattr("etl.ingest.gate", lambda *arguments: [])
    config = small_config(tmp_path / "lake", windows_days=(2, 14))
    lake, days = Lake(spark, config.lake.root), DateRange("2024-02-26", "2024-03-12")
    log = random_log(days.days(), 3, seed=11)
    ingest_events(lake, raw_log(spark, log), config, days, "log")
    asked = DateRange("2024-03-11", "2024-03-12")
    written = build_interactions(lake, config, asked)
    # 2024-02-27 and every fourth day from there begin a tile; the first is older than the windows of the second day.
    assert [(one.table, str(one.days)) for one in written if one.table in TILES] == [
        ("interactions_tiles_4", "2024-02-27..2024-03-06"),
    ]
    rows = lake.read(c.INTERACTIONS).collect()
    for ds in asked:
        assert_same_rows(rows, reference.kept(log, days, config), ds, config)
    day = DateRange("2024-03-02", "2024-03-02")
    change = [raw_row("2024-03-02T10:00:00Z", query="new words", item_id="i1", action="click", country="FR")]
    ingest_events(lake, raw_log(spark, change), config, day, "change")
    steps = [(step.table, step.ds) for step in lake_plan(lake, config, asked) if step.state != FRESH]
    assert steps == [
        (c.INTERACTIONS_DAILY, day.start),
        (c.QUERIES_DAILY, day.start),
        ("interactions_tiles_4", "2024-03-02"),
        (c.INTERACTIONS, "2024-03-11"),
        (c.INTERACTIONS, "2024-03-12"),
    ]
    backfill_interactions(lake, config, asked)
    log = [row for row in log if not row["ts"].startswith(day.start)] + change
    rows = lake.read(c.INTERACTIONS).collect()
    for ds in asked:
        assert_same_rows(rows, reference.kept(log, days, config), ds, config)


def test_any_query_text_is_counted_under_its_key(spark):
    config = small_config()
    draw = random.Random(5)
    queries = [*QUERIES, "\u6771\u4eac", "\u05e9\u05dc\u05d5\u05dd", "a'b\"c\\d", "%_"]
    rows = [
        raw_row("2024-02-29T10:00:00Z", request_id=f"r{n}", query=query, item_id=draw.choice(["i1", "i2"]))
        for n, query in enumerate(queries)
    ]
    events = reference.kept(rows, DAYS, config)
    assert_same_rows(windowed_log(spark, events, DateRange("2024-02-29", "2024-02-29"), config).collect(), events,
                     "2024-02-29", config)  # fmt: skip


def test_building_again_changes_nothing_and_reuses_the_partials(built, copied):
    lake, config = copied()
    before = contents(lake.read(c.INTERACTIONS))
    written = build_interactions(lake, config, DateRange("2024-02-29", "2024-03-03"))
    assert planned(written) == [(c.INTERACTIONS, "2024-02-29..2024-03-03")]
    assert contents(lake.read(c.INTERACTIONS)) == before


def test_backfill_builds_exactly_what_the_plan_lists(built, copied):
    """Another minimum of users touches the windows only, and only the asked days."""
    lake, config = copied()
    config = dataclasses.replace(
        config, interactions=dataclasses.replace(config.interactions, min_users=2, days_per_job=1)
    )
    asked = DateRange("2024-02-29", "2024-03-01")
    before = contents(lake.read(c.INTERACTIONS).where("ds NOT BETWEEN '2024-02-29' AND '2024-03-01'"))
    steps = [step for step in lake_plan(lake, config, asked) if step.state != FRESH]
    assert [(step.table, step.ds) for step in steps] == [(c.INTERACTIONS, ds) for ds in asked]
    told: list[str] = []
    assert backfill_interactions(lake, config, asked, told.append) == (steps, [])
    assert [one.split()[0] for one in told] == [c.QUERY_ITEMS, c.INTERACTIONS] * 2
    rows = lake.read(c.INTERACTIONS).collect()
    for ds in asked:
        assert_same_rows(rows, built.events, ds, config)
    assert contents(lake.read(c.INTERACTIONS).where("ds NOT BETWEEN '2024-02-29' AND '2024-03-01'")) == before
    assert {step.state for step in lake_plan(lake, config, asked)} == {FRESH}


def test_after_a_day_changed_backfill_rebuilds_what_depends_on_it(built, copied, monkeypatch):
    lake, config = copied()
    monkeypatch.setattr("etl.ingest.gate", lambda *arguments: [])
    day, asked = DateRange("2024-02-28", "2024-02-28"), DateRange("2024-03-03", "2024-03-03")
    change = [raw_row("2024-02-28T10:00:00Z", query="new words", item_id="i1", action="click", country="FR")]
    ingest_events(lake, raw_log(lake.spark, change), config, day, "change")
    steps = [step for step in lake_plan(lake, config, asked) if step.state != FRESH]
    assert [(step.table, step.ds, step.state) for step in steps] == [
        (c.INTERACTIONS_DAILY, day.start, STALE),
        (c.QUERIES_DAILY, day.start, STALE),
        (c.INTERACTIONS, asked.start, STALE),
    ]
    assert backfill_interactions(lake, config, asked) == (steps, [])
    events = [event for event in built.events if event["ds"] != day.start] + reference.kept(change, day, config)
    rows = lake.read(c.INTERACTIONS, asked).collect()
    assert_same_rows(rows, events, asked.start, config)
    assert {step.state for step in lake_plan(lake, config, asked)} == {FRESH}


@pytest.mark.slow
def test_windows_know_of_days_that_another_job_changed_after_they_were_planned(built, copied, monkeypatch, caplog):
    """The other job is done before the one commits partials of its own: its windows would be recorded as knowing it."""
    lake, config = copied()
    monkeypatch.setattr("etl.ingest.gate", lambda *arguments: [])
    first, asked = DateRange("2024-03-01", "2024-03-01"), DateRange("2024-03-03", "2024-03-03")
    change = [raw_row("2024-03-01T10:00:00Z", query="new words", item_id="i1", action="click", country="FR")]
    partials = interactions._partials

    def met(*given):
        monkeypatch.setattr(interactions, "_partials", partials)
        other = Lake(lake.spark, lake.root)
        ingest_events(other, raw_log(lake.spark, change), config, first, "change")
        build_interactions(other, config, first)
        return partials(*given)

    monkeypatch.setattr(interactions, "_partials", met)
    build_interactions(lake, config, asked, again=True)
    assert "Planning anew" in caplog.text
    events = [event for event in built.events if event["ds"] != first.start] + reference.kept(change, first, config)
    assert_same_rows(lake.read(c.INTERACTIONS, asked).collect(), events, asked.start, config)
    assert {step.state for step in lake_plan(lake, config, asked)} == {FRESH}


def test_days_that_were_never_ingested_cannot_be_built(built):
    with pytest.raises(MissingDataError, match="2024-03-04"):
        build_interactions(built.lake(), built.config, DateRange("2024-03-03", "2024-03-04"))


def test_a_gate_that_fails_publishes_nothing(built, copied, monkeypatch):
    lake, config = copied()
    versions = {table: lake.version(table) for table in (c.INTERACTIONS, c.RUNS)}

    def broken(*arguments):
        for table in windows_of(*arguments):
            shares = pa.array([1.5] * table.num_rows)
            yield table.set_column(table.column_names.index("click_share_5d"), "click_share_5d", shares)

    monkeypatch.setattr("etl.windows.windows_of", broken)
    with pytest.raises(GateError, match=r"shares outside \[0, 1\]") as caught:
        build_interactions(lake, config, DateRange("2024-02-29", "2024-02-29"))
    assert caught.value.exit_code == 3
    fresh = Lake(lake.spark, lake.root)
    assert {table: fresh.version(table) for table in versions} == versions
