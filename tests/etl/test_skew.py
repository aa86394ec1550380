"""Spreading a query over tasks changes no row."""

import pytest
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.packed import packed_days
from etl.priors import priors
from etl.skew import SALT, heavy_queries, spread
from etl.tiles import covers
from etl.windows import tile_figures, windowed
from tests.etl import reference
from tests.etl.logs import contents, small_config
from tests.etl.test_interactions import assert_same_rows

pytestmark = pytest.mark.spark

ASKED = DateRange("2024-02-29", "2024-03-01")


@pytest.mark.parametrize("top", [0, 1, 2])
def test_windows_with_heavy_queries_are_those_of_the_reference(built, top):
    config = small_config(top_items_per_query=top)
    lake, parts = built.lake(), covers(ASKED, config.interactions.windows_days)
    reach = DateRange(parts[0].start, ASKED.end)
    daily = lake.read(c.INTERACTIONS_DAILY, reach)
    heavy = heavy_queries(lake.read(c.QUERIES_DAILY, reach), ASKED, config, tasks=3, least=1)
    assert heavy is not None
    before = priors(daily, ASKED, config.events.actions, config.interactions)
    packed = packed_days(daily, tile_figures(config))
    rows = windowed(packed, parts, ASKED, before, config, heavy)
    assert contents(rows) == contents(windowed(packed, parts, ASKED, before, config))
    for ds in ASKED:
        assert_same_rows(rows.collect(), built.events, ds, config)


def test_few_events_or_an_even_log_have_no_heavy_query(built):
    queries = built.lake().read(c.QUERIES_DAILY)
    assert heavy_queries(queries, ASKED, built.config, tasks=4) is None
    assert heavy_queries(queries, ASKED, built.config, tasks=1, least=10_000) is None


def test_each_item_of_a_heavy_query_goes_to_one_task_and_none_is_lost(built):
    config = small_config()
    lake = built.lake()
    heavy = heavy_queries(lake.read(c.QUERIES_DAILY), ASKED, config, tasks=4, least=1)
    packed = packed_days(lake.read(c.INTERACTIONS_DAILY), tile_figures(config))
    many = packed.groupBy(*c.QUERY_KEY, "first_day", "days").agg(
        *(F.flatten(F.collect_list(name)).alias(name) for name in packed.columns if name.endswith("_cnt")),
        F.flatten(F.collect_list("items")).alias("items"),
    )
    rows = spread(many, heavy).select("query_key", SALT, F.explode(F.arrays_zip("items", "click_cnt")).alias("one"))
    pairs = [(row.query_key, row.one["items"], row[SALT]) for row in rows.collect()]
    assert len({(query, item) for query, item, _ in pairs}) == len(set(pairs))
    assert {salt for query, _, salt in pairs if query not in heavy.queries} <= {0}
    assert len({salt for query, _, salt in pairs if query in heavy.queries}) > 1
    expected = sum(row["click_cnt"] for row in reference.daily_pairs(built.events, config).values())
    assert sum(row.one["click_cnt"] for row in rows.collect()) == expected
