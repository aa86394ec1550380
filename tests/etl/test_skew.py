"""Spreading a query over tasks changes no row."""

import pytest

from etl.config import USUAL_FAMILIES
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.exchange import Tasks, rows_of
from etl.kernels.blobs import NO_SLICES
from etl.partials import DayBuckets
from etl.priors import daily_moments, priors
from etl.skew import day_buckets, size_of, tile_buckets
from etl.tiles import covers
from etl.windows import plain_rows, tiles, windowed
from tests.etl import reference
from tests.etl.logs import DAYS, contents, small_config
from tests.etl.test_interactions import assert_same_rows, tables_of_days

pytestmark = pytest.mark.spark

ASKED = DateRange("2024-02-29", "2024-03-01")


@pytest.mark.parametrize(("top", "families"), [(0, USUAL_FAMILIES), (1, ("fresh", "cnt")), (2, ("cnt", "decay"))])
def test_windows_with_heavy_queries_are_those_of_the_reference(built, top, families):
    config = small_config(top_items_per_query=top, families=families, fresh_days=2)
    lake, parts = built.lake(), covers(ASKED, config.interactions.windows_days)
    reach = DateRange(parts[0].start, ASKED.end)
    daily = lake.read(c.INTERACTIONS_DAILY, reach)
    heavy = size_of(lake.read(c.QUERIES_DAILY, reach), ASKED, config, tasks=3, least=1).heavy
    assert heavy is not None
    before = priors(
        daily_moments(lake, reach, config.events.actions), ASKED, config.events.actions, config.interactions
    )
    days, tasks = tables_of_days(daily, parts), Tasks(2, 6)
    rows = plain_rows(windowed(days, parts, ASKED, before, config, tasks, heavy), config)
    assert contents(rows) == contents(plain_rows(windowed(days, parts, ASKED, before, config, tasks), config))
    for ds in ASKED:
        assert_same_rows(rows.collect(), built.events, ds, config)


def test_tiles_of_heavy_queries_are_those_of_whole_ones(built):
    tile = DateRange("2024-02-27", "2024-03-01")
    daily = built.lake().read(c.INTERACTIONS_DAILY, tile)
    queries = built.lake().read(c.QUERIES_DAILY, tile)
    spread, slices = tile_buckets(queries, built.config, 2, least=1)
    assert slices.heavy
    tables = tables_of_days(daily, [DateRange(ds, ds) for ds in tile])
    names = {name: kind for name, kind in daily.dtypes if name != "ds"}
    cut, whole = (
        contents(rows_of(tiles(tables, tile.days(), [tile], built.config, spread, one), names))
        for one in (slices, NO_SLICES)
    )
    assert cut == whole
    assert len(cut) == len({key[1:] for key in reference.daily_pairs(built.events, built.config) if key[0] in tile})


@pytest.mark.parametrize(("days", "events", "buckets"), [(1, 10_000, 1), (64, 1_000_000, 128), (256, 4_000_000, 1024)])
def test_a_bucket_of_tiles_holds_a_million_events_of_all_days_at_most(built, days, events, buckets):
    [row] = built.lake().read(c.QUERIES_DAILY).where(f"segment_name = '{c.ALL_SEGMENT}'").limit(1).collect()
    dates = DateRange("2024-01-01", "2024-12-31").days()[:days]
    counts = {c.count(action): events * (action == "click") for action in built.config.events.actions}
    rows = [{**row.asDict(), **counts, "ds": ds} for ds in dates]
    frame = built.spark.createDataFrame(rows, built.lake().read(c.QUERIES_DAILY).schema)
    assert tile_buckets(frame, built.config, 2)[0] == Tasks(2, buckets)


@pytest.mark.parametrize(
    ("counts", "tasks", "heavy"),
    [
        ({"a": (6, 0), "b": (1, 1)}, 1, ["a"]),
        ({"a": (4, 0), "b": (2, 2)}, 1, []),  # half of all is not above it
        ({"a": (4, 0), "b": (2, 2)}, 2, ["a", "b"]),
        ({"a": (1, 1), "b": (1, 1), "c": (1, 1)}, 1, []),
    ],
)
def test_queries_are_heavy_above_half_of_what_a_task_would_hold(built, counts, tasks, heavy):
    table = built.lake().read(c.QUERIES_DAILY)
    [row] = table.where(f"segment_name = '{c.ALL_SEGMENT}'").limit(1).collect()
    none = dict.fromkeys(map(c.count, built.config.events.actions), 0)
    rows = [
        {**row.asDict(), **none, "ds": ds, "query_key": query, c.count("click"): events}
        for query, of_days in counts.items()
        for ds, events in zip(ASKED, of_days, strict=True)
    ]
    found = size_of(built.spark.createDataFrame(rows, table.schema), ASKED, built.config, tasks, least=1)
    assert found.events == sum(map(sum, counts.values()))
    assert heavy == ([] if found.heavy is None else list(found.heavy.slices.heavy))


def test_few_events_or_an_even_log_have_no_heavy_query(built):
    queries = built.lake().read(c.QUERIES_DAILY)
    assert size_of(queries, ASKED, built.config, tasks=4).heavy is None
    assert size_of(queries, ASKED, built.config, tasks=1, least=10_000).heavy is None


def test_the_size_is_the_number_of_events(built):
    lake = built.lake()
    assert size_of(lake.read(c.QUERIES_DAILY), ASKED, built.config, tasks=4).events == len(built.events)
    assert size_of(lake.read(c.QUERIES_DAILY).limit(0), ASKED, built.config, tasks=4).events == 0


def test_a_day_with_a_heavy_query_is_cut_by_its_items_too(built):
    events = built.lake().read(c.EVENTS)
    assert day_buckets(events, DAYS, tasks=4) == DayBuckets(DAYS, 1)
    heavy = day_buckets(events, DAYS, tasks=4, least=3)
    assert heavy.slices.many == 4
    assert heavy.slices.heavy
    assert day_buckets(events.limit(0), DAYS, tasks=4) == DayBuckets(DAYS, 1)
