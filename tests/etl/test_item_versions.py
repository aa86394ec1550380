import math

import pytest
from pyspark.sql import functions as F

from etl.catalogues import catalogue
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.item_versions import VERSION, described_items, version_of
from tests.etl.logs import items_frame, sample_items, small_config

pytestmark = pytest.mark.spark

DAYS = DateRange("2024-02-27", "2024-03-02")
SNAPSHOTS = ["2024-02-27", "2024-02-29"]


def versions(spark, snapshots, lag):
    frame = spark.createDataFrame([(ds,) for ds in [*DAYS, "2030-01-01"]], "ds string")
    rows = frame.select("ds", version_of(F.col("ds"), snapshots, DAYS, lag).alias("version")).collect()
    return {row.ds: row.version for row in rows}


@pytest.mark.parametrize(
    ("lag", "seen"),
    [
        (0, ["", "2024-02-27", "2024-02-27", "2024-02-29", "2024-02-29"]),
        (1, ["", "", "2024-02-27", "2024-02-27", "2024-02-29"]),
    ],
)
def test_a_day_sees_the_newest_snapshot_of_the_day_before_its_lag(spark, lag, seen):
    assert versions(spark, SNAPSHOTS, lag) == {**dict(zip(DAYS, seen, strict=True)), "2030-01-01": ""}


def test_without_snapshots_no_day_sees_any(spark):
    assert set(versions(spark, [], 0).values()) == {""}


def described(spark, references, items):
    frame = spark.createDataFrame(references, f"item_id string, {VERSION} string")
    rows = described_items(frame, items, ["brand", "colour"], ["price"], ["vector"]).collect()
    return {(row.item_id, row[VERSION]): row for row in rows}


def test_each_version_of_an_item_is_described_as_it_was(spark):
    config = small_config()
    parts = [
        catalogue(items_frame(spark, sample_items(ds)), c.ITEMS, config, DateRange(ds, ds), "here") for ds in SNAPSHOTS
    ]
    references = [("i4", ds) for ds in SNAPSHOTS] * 2 + [("i4", ""), ("i2", SNAPSHOTS[0]), ("i9", SNAPSHOTS[0])]
    found = described(spark, references, parts[0].unionByName(parts[1]))
    assert len(found) == 5
    assert [found["i4", ds].text for ds in SNAPSHOTS] == ["i4 of 2024-02-27 acme", "i4 of 2024-02-29 acme"]
    assert [found["i4", ds].numerics for ds in SNAPSHOTS] == [[27.0], [29.0]]
    assert found["i4", SNAPSHOTS[0]].categories == ["acme", ""]
    assert found["i4", SNAPSHOTS[0]].dense == [4.0, 0.5]
    assert math.isnan(found["i2", SNAPSHOTS[0]].numerics[0])
    for key in (("i4", ""), ("i9", SNAPSHOTS[0])):
        assert (found[key].text, found[key].categories) == ("", ["", ""])
        assert math.isnan(found[key].numerics[0])


def test_without_a_catalogue_every_item_stands_without_text(spark):
    found = described(spark, [("i1", "")], None)
    assert (found["i1", ""].text, found["i1", ""].categories) == ("", ["", ""])
