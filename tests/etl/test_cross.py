import pytest
from pyspark.sql import functions as F

from etl.backoff import backoff_of
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.cross import cross_names, interaction_features, with_cross
from etl.query_windows import AS_OF
from tests.etl import reference, reference_rows
from tests.etl.logs import small_config

SEGMENTS = ["all", "country", "gender"]


def test_names_go_by_segment_then_family_and_end_with_whether_there_is_history():
    config = small_config()
    names = cross_names(config)
    features = interaction_features(config)
    assert names == [f"{segment}__{name}" for segment in SEGMENTS for name in [*features, "has_history"]]
    # An impression's rate says nothing.
    assert "impression_rate_2d" not in features
    assert features[0] == "impression_cnt_2d"
    assert features[-1] == "users_5d"
    assert len(features) == 6 + 6 + 4 + 6 + 2


def test_only_the_configured_families_become_features():
    import dataclasses

    config = small_config()
    config = dataclasses.replace(config, export=dataclasses.replace(config.export, cross_families=("users", "share")))
    assert {name.split("_")[-2] for name in interaction_features(config)} == {"share", "users"}
    assert interaction_features(config)[:2] == ["users_2d", "users_5d"]


@pytest.mark.spark
def test_a_row_sees_its_pair_on_its_one_day_overall_and_in_its_own_segments(built):
    ds, config = "2024-02-29", built.config
    days = DateRange("2024-02-28", "2024-03-01")
    backoff, table = backoff_of(built.lake(), days, config), built.lake().read(c.INTERACTIONS, days)
    seen = reference.interactions(built.events, ds, config)
    pairs = sorted({(query, item) for query, item, _, _ in seen})
    cells = [{}, {"country": "US"}, {"country": "US", "gender": "female"}, {"country": "nowhere"}]
    wanted = [(number, *pair, cells[number % 4], ds) for number, pair in enumerate(pairs)]
    # A query of one known word, a known query beside an item that it never met, and one of which nothing is known.
    wanted += [
        (1000, "blue suede shoes", "i1", {"country": "US"}, ds), (1001, "shoes", "never", {}, ds),
        (1002, "never", "never", {}, ds),
    ]  # fmt: skip
    schema = f"row int, query_key string, item_id string, segments map<string,string>, {AS_OF} string"
    rows = with_cross(built.spark.createDataFrame(wanted, schema), table, config, backoff).collect()
    found = {row.row: dict(zip(cross_names(config), row.cross, strict=True)) for row in rows}
    assert len(rows) == len(wanted)
    rates = {number: found[number]["all__click_rate_5d"] for number in (1000, 1001, 1002)}
    assert len(set(rates.values())) == 3
    assert min(rates.values()) > 0
    for number, query, item, segments, _ in wanted:
        start = {"query_key": query, "segments": segments}
        expected = reference_rows.cross(seen, start, item, config, built.events, ds)
        expected = {name: expected.get(name, 0.0) for name in cross_names(config)}
        assert found[number] == pytest.approx(expected, rel=1e-6)


@pytest.mark.spark
def test_cross_features_are_floats_and_other_columns_stay(built):
    table = built.lake().read(c.INTERACTIONS)
    rows = built.spark.range(1).select(
        F.lit("q").alias("query_key"), F.lit("i").alias("item_id"), F.lit("2024-02-29").alias(AS_OF),
        F.map_from_arrays(F.array().cast("array<string>"), F.array().cast("array<string>")).alias("segments"), "id",
    )  # fmt: skip
    frame = with_cross(rows, table, built.config, None)
    assert dict(frame.dtypes)["cross"] == "array<float>"
    assert set(frame.columns) == {*rows.columns, "cross"}
