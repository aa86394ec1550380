import pytest
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.quality.profiles import Undated, profile, with_reject_shares

FAULTS = {"missing_keys", "repeated_event_id", "repeated_ids", "unknown_actions", "outside_day"}


def test_refused_rows_count_on_days_without_events_too():
    rows = with_reject_shares([{"ds": "b", "rows": 3}], {"b": {"bot": 1}, "a": {"bot": 1, "duplicate": 4}})
    assert [(row["ds"], row["rows"], row["reject_share"]) for row in rows] == [("a", 0, 1.0), ("b", 3, 0.25)]
    assert [row["reject_share_words"] for row in rows] == ["duplicate 4, bot 1", "bot 1"]
    [whole] = with_reject_shares([{"ds": "a", "rows": 2}], {})
    assert whole == {"ds": "a", "rows": 2, "reject_share": 0.0, "reject_share_words": ""}


def test_rows_without_a_timestamp_count_against_each_day_by_its_size():
    days = [{"ds": "a", "rows": 95}, {"ds": "b", "rows": 900}]
    rows = with_reject_shares(days, {"a": {"bot": 5}}, Undated("a", {"bad_timestamp": 300, "missing_key": 20}, 2000))
    assert [row["reject_share"] for row in rows] == pytest.approx([(5 + 0.16 * 100) / 116, 0.16 / 1.16])
    every = "without a timestamp, of all days: bad_timestamp 300, missing_key 20"
    assert [row["reject_share_words"] for row in rows] == [f"bot 5; {every}", every]


@pytest.mark.parametrize(("kept", "refused", "undated"), [(7, 3, 11), (1, 0, 2), (997, 13, 0), (3, 3, 10**9)])
def test_of_one_day_the_share_is_that_of_its_refused_rows(kept, refused, undated):
    of_day = Undated("a", {"bad_timestamp": undated} if undated else {}, kept + refused)
    [row] = with_reject_shares([{"ds": "a", "rows": kept}], {"a": {"bot": refused}}, of_day)
    assert row["reject_share"] == (refused + undated) / (kept + refused + undated)


def test_a_first_day_that_has_only_rows_without_a_timestamp_is_refused_whole():
    rows = with_reject_shares([{"ds": "b", "rows": 99}], {}, Undated("a", {"bad_timestamp": 1}, 99))
    assert [(row["ds"], row["reject_share"]) for row in rows] == [("a", 1.0), ("b", 0.01)]


@pytest.mark.spark
def test_a_good_lake_has_no_fault_in_any_figure(built):
    lake = built.lake()
    for table in (c.EVENTS, c.INTERACTIONS):
        rows = profile(table, lake.read(table), built.config)
        assert [row["ds"] for row in rows] == lake.days_of(table)
        assert {
            name: value for row in rows for name, value in row.items() if name not in ("ds", "rows") and value
        } == {}
    assert profile(c.ITEMS, lake.read(c.ITEMS), built.config) == [{"ds": ds, "rows": 5} for ds in lake.days_of(c.ITEMS)]


@pytest.mark.spark
def test_each_fault_of_events_shows_in_its_figure(built):
    day = built.lake().read(c.EVENTS).where("ds = '2024-02-29'").limit(4)
    damaged = day.select(*(name for name in day.columns if name not in ("action", "ds", "user_id")),
                         F.lit("hover").alias("action"), F.lit("2024-02-28").alias("ds"),
                         F.lit(None).cast("string").alias("user_id"))  # fmt: skip
    [row] = profile(c.EVENTS, damaged.unionByName(damaged), built.config)
    assert (row["rows"], row["missing_keys"], row["unknown_actions"], row["outside_day"]) == (8, 8, 8, 8)
    assert row["repeated_ids"] == 4


@pytest.mark.spark
@pytest.mark.parametrize(
    ("column", "value", "figure"),
    [
        ("click_share_5d", 1.01, "bad_shares"),
        ("click_share_2d", None, "bad_shares"),
        ("click_rate_5d", -0.1, "negative_values"),
        ("click_decay_hl2d", None, "negative_values"),
        ("click_cnt_2d", 10_000, "unnested_windows"),
        ("users_5d", 0, "thin_rows"),
        ("item_id", "same", "repeated_keys"),
    ],
)
def test_each_fault_of_interactions_shows_in_its_figure(built, column, value, figure):
    table = built.lake().read(c.INTERACTIONS)
    day = table.where("ds = '2024-02-29' AND query_key = 'shoes'")
    [row] = profile(
        c.INTERACTIONS, day.withColumn(column, F.lit(value).cast(table.schema[column].dataType)), built.config
    )
    assert row[figure] > 0


def test_a_day_with_no_row_at_all_has_refused_none():
    [day] = with_reject_shares([{"ds": "2024-02-28", "rows": 0}], {})
    assert day["reject_share"] == 0
