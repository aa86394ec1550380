"""What one write replaces and what it leaves; one small table, a commit for each promise."""

import json
import time
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from etl import write as writing
from etl.conflicts import signature_of
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.delta_log import commit_info
from etl.lake import Lake
from etl.operations.audit import recorded_runs
from etl.runs import OPTIMIZED, SUCCEEDED, Run
from etl.write import Output, Recorder, Written, optimize, replace_partitions
from etl.write_errors import WriteVerificationError
from tests.etl.logs import contents

pytestmark = pytest.mark.spark

D = ["2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01"]
START = [(D[0], "a", 1), (D[1], "a", 1), (D[1], "b", 2), (D[2], "a", 1)]


def rows(spark, values):
    return spark.createDataFrame(values, "ds string, id string, value int")


def write(lake, values, days, **output):
    frame = rows(lake.spark, values)
    [written] = replace_partitions(lake, [Output("things", frame, days, ("id",), **output)], Run("test", "config"))
    return written


@pytest.fixture(scope="module")
def base(spark, tmp_path_factory):
    lake = Lake(spark, str(tmp_path_factory.mktemp("write") / "lake"))
    write(lake, START, DateRange(D[0], D[2]))
    return lake.root


@pytest.fixture
def lake(spark, base, tmp_path):
    import shutil

    shutil.copytree(base, tmp_path / "lake")
    return Lake(spark, str(tmp_path / "lake"))


def held(lake):
    return sorted(tuple(row) for row in lake.read("things").select("ds", "id", "value").collect())


def test_tables_whose_files_differ_by_query_keep_min_and_max_of_queries_only(lake):
    frame = lake.spark.createDataFrame([(D[0], "shoe", 1)], "ds string, query_key string, value int")
    for _ in range(2):
        output = Output(c.QUERY_ITEMS, frame, DateRange(D[0], D[0]), ("query_key",))
        [written] = replace_partitions(lake, [output], Run("test", "config"))
        entries = Path(lake.path(c.QUERY_ITEMS), "_delta_log", f"{written.version:020}.json").read_text().splitlines()
        [added] = [entry["add"] for entry in map(json.loads, entries) if "add" in entry]
        stats = json.loads(added["stats"])
        assert (stats["numRecords"], stats["minValues"]) == (1, {"query_key": "shoe"})


def test_only_the_days_of_the_range_are_replaced_and_rows_of_others_dropped(lake):
    written = write(lake, [(D[1], "c", 3), (D[0], "x", 9), (D[3], "x", 9)], DateRange(D[1], D[2]))
    assert held(lake) == [(D[0], "a", 1), (D[1], "c", 3)]
    assert (written.rows, written.version, written.days) == (1, 1, DateRange(D[1], D[2]))


def test_nothing_to_write_clears_the_days(lake):
    assert write(lake, [], DateRange(D[1], D[1])).rows == 0
    assert held(lake) == [(D[0], "a", 1), (D[2], "a", 1)]


def test_nothing_in_the_place_of_nothing_is_a_commit_of_its_own(lake):
    versions = [write(lake, [], DateRange(D[1], D[1])).version for _ in range(2)]
    assert versions == [1, 2]


def test_writing_the_same_again_changes_no_row(lake):
    before = held(lake)
    write(lake, START[::-1], DateRange(D[0], D[2]))
    assert held(lake) == before == sorted(START)


def test_only_narrows_what_is_replaced(lake):
    values = [(D[1], "a", 7), (D[1], "b", 8)]
    written = write(lake, values, DateRange(D[1], D[1]), only={"id": "a"})
    assert written.rows == 1
    assert held(lake) == sorted([START[0], (D[1], "a", 7), (D[1], "b", 2), START[3]])


@pytest.mark.parametrize("value", ["a' OR '1'='1", "", "a b"])
def test_only_takes_plain_words(lake, value):
    with pytest.raises(ValueError, match="can select rows to replace"):
        write(lake, [], DateRange(D[1], D[1]), only={"id": value})
    assert len(held(lake)) == 4


def test_a_new_column_joins_the_table(lake):
    frame = lake.spark.createDataFrame([(D[3], "z", 1, "new")], "ds string, id string, value int, more string")
    replace_partitions(lake, [Output("things", frame, DateRange(D[3], D[3]), ("id",))], Run("test", "config"))
    assert {row.id: row.more for row in lake.read("things").collect()} == {"a": None, "b": None, "z": "new"}


@pytest.mark.faults
def test_a_commit_that_holds_other_rows_than_computed_is_an_error_without_a_record(lake, monkeypatch):
    runs = lake.read(c.RUNS).count()
    monkeypatch.setattr(writing, "rows_added", lambda *commit, whole: 1)
    with pytest.raises(WriteVerificationError, match="2 rows were computed, 1 stand in the table") as caught:
        write(lake, START[1:3], DateRange(D[1], D[1]))
    assert caught.value.retryable
    monkeypatch.undo()
    lake.refresh(c.RUNS)
    assert lake.read(c.RUNS).count() == runs


@pytest.mark.parametrize(("seconds", "commits"), [(600.0, 1), (0.0, 2)])
def test_what_is_told_in_the_background_is_recorded_by_the_end_of_the_block_in_order(lake, seconds, commits):
    before, runs = lake.newest(c.RUNS), [Run("test", "config") for _ in range(2)]
    with Recorder(lake, seconds) as tell:
        for run in runs:
            tell(run, [Written("things", DateRange(D[0], D[0]), 0, 1)])
            # Though nothing else is told, it does not wait for the end.
            end = time.monotonic() + 60
            while commits == 2 and lake.newest(c.RUNS) == before and time.monotonic() < end:
                time.sleep(0.05)
    told = lake.read(c.RUNS).where(F.col("run_id").isin([run.run_id for run in runs])).orderBy("finished_at")
    assert [row.run_id for row in told.collect()] == [run.run_id for run in runs]
    assert lake.newest(c.RUNS) == before + commits


@pytest.mark.faults
def test_what_could_not_be_recorded_is_an_error_at_the_end_of_the_block(lake, monkeypatch):
    def full(*given):
        raise OSError("no space left")

    monkeypatch.setattr(writing, "append_records", full)
    with pytest.raises(OSError, match="no space"), Recorder(lake) as tell:
        tell(Run("test", "config"), [Written("things", DateRange(D[0], D[0]), 0, 1)])


def test_every_output_of_a_run_is_recorded_under_one_id(lake):
    day = DateRange(D[1], D[1])
    run = Run("test", "config", "definition", inputs={"source": 4}, source="a.csv")
    outputs = [Output(table, rows(lake.spark, START), day, ("id",)) for table in ("things", "others")]
    written = replace_partitions(lake, outputs, run)
    records = lake.read(c.RUNS).where(f"run_id = '{run.run_id}'").collect()
    assert {(row.table, row.output_version, row.rows_out) for row in records} == {
        (one.table, one.version, 2) for one in written
    }
    assert {(row.ds, row.end_ds, row.status, tuple(row.inputs)) for row in records} == {
        (D[1], D[1], SUCCEEDED, ("source@4", "a.csv"))
    }


def test_rows_are_placed_by_their_key_not_by_their_order(lake):
    days = DateRange(D[0], D[2])
    frame = rows(lake.spark, START)
    placed = []
    for order in (frame, frame.orderBy("value", "id").repartition(3)):
        replace_partitions(lake, [Output("things", order, days, ("id",))], Run("test", "config"))
        table = lake.read("things")
        files = table.selectExpr("*", "_metadata.file_name AS file").groupBy("file").agg({"id": "collect_list"})
        placed.append(sorted(tuple(row["collect_list(id)"]) for row in files.collect()))
    assert placed[0] == placed[1]
    assert contents(lake.read("things"))


def test_an_optimize_is_recorded_if_it_rewrote_anything_and_no_other_commit_says_the_same(lake):
    day = DateRange(D[0], D[0])
    write(lake, [(D[0], "c", 1)], day, only={"id": "c"})
    before = held(lake)
    run = Run("maintain", "config", outcome=OPTIMIZED)
    for _ in range(2):
        optimize(lake, "things", day, None, run)
    assert held(lake) == before
    records = [one for one in recorded_runs(lake) if one.run_id == run.run_id]
    assert [(one.table, one.ds, one.output_version, one.rows_out) for one in records] == [("things", D[0], 2, 0)]
    assert signature_of(commit_info(lake.spark, lake.path("things"), 2))["run_id"] == run.run_id
    assert signature_of(commit_info(lake.spark, lake.path(c.RUNS), lake.newest(c.RUNS))) == {}
