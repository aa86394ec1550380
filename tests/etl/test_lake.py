import pytest

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.errors import MissingDataError
from etl.lake import Lake
from etl.runs import Run
from etl.storage_errors import FileSystemError
from etl.write import Output, replace_partitions
from tests.etl.logs import SNAPSHOTS

pytestmark = pytest.mark.spark


def test_a_table_that_is_not_there_says_how_to_make_it(spark, tmp_path):
    lake = Lake(spark, f"{tmp_path}/")
    assert not lake.exists(c.EVENTS)
    assert lake.days_of(c.EVENTS) == []
    with pytest.raises(MissingDataError, match="prerank ingest"):
        lake.read(c.EVENTS)
    assert lake.path(c.EVENTS) == f"{tmp_path}/events"


@pytest.mark.parametrize(
    ("root", "remedy"),
    [
        ("s3a://bucket/lake", "--set spark.packages=org.apache.hadoop:hadoop-aws:"),
        ("s3://bucket/lake", "s3a://bucket/lake"),
        ("abfss://a@b.example/lake", "Add the jars of 'abfss' for Hadoop"),
    ],
)
def test_a_file_system_without_jars_says_how_to_get_them(spark, root: str, remedy: str):
    with pytest.raises(FileSystemError) as refused:
        Lake(spark, root)
    assert remedy in str(refused.value)
    assert f"{root} cannot be opened" in str(refused.value)


def test_a_read_pins_the_version_until_it_is_refreshed(copied):
    lake, _ = copied(c.ITEMS)
    assert lake.pinned == {}
    version, rows, stamp = lake.version(c.ITEMS), lake.read(c.ITEMS).count(), lake.stamp(c.ITEMS)
    writer = Lake(lake.spark, lake.root)
    day = DateRange(SNAPSHOTS[0], SNAPSHOTS[0])
    replace_partitions(
        writer, [Output(c.ITEMS, writer.read(c.ITEMS).limit(0), day, ("item_id",))], Run("test", "config")
    )
    assert (lake.version(c.ITEMS), lake.read(c.ITEMS).count(), lake.stamp(c.ITEMS)) == (version, rows, stamp)
    lake.refresh(c.ITEMS)
    assert lake.version(c.ITEMS) == version + 1 == lake.newest(c.ITEMS)
    assert lake.read(c.ITEMS).count() < rows
    assert lake.days_of(c.ITEMS) == [SNAPSHOTS[1]]
    assert lake.stamp(c.ITEMS) == writer.stamp(c.ITEMS) != stamp


def test_tables_of_one_name_and_version_have_different_stamps(spark, tmp_path):
    lakes = [Lake(spark, str(tmp_path / name)) for name in ("one", "other")]
    for lake in lakes:
        spark.range(1).write.format("delta").save(lake.path(c.ITEMS))
    assert len({lake.stamp(c.ITEMS) for lake in lakes}) == 2
    assert {lake.version(c.ITEMS) for lake in lakes} == {0}


def test_a_range_reads_its_partitions_only(built):
    lake = built.lake()
    frame = lake.read(c.EVENTS, DateRange("2024-02-28", "2024-02-29"))
    assert {row.ds for row in frame.select("ds").distinct().collect()} == {"2024-02-28", "2024-02-29"}
    names = {path.rsplit("/", 2)[-2] for path in frame.inputFiles()}
    assert "PartitionFilters" in frame._jdf.queryExecution().executedPlan().toString()
    assert "ds=2024-02-28" in names
