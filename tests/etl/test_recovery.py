"""What a killed job committed without a record is recorded by the next job, as the killed one would have done."""

import dataclasses
import shutil

import pytest

from etl import write as writing
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.lake import Lake
from etl.operations.audit import recorded_runs
from etl.recovery import record_lost_commits
from etl.runs import DROPPED, OPTIMIZED, Run
from etl.write import Output, optimize, replace_partitions
from etl.write_errors import WriteVerificationError

pytestmark = [pytest.mark.spark, pytest.mark.faults]

D = ["2024-02-27", "2024-02-28"]
SPAN = DateRange(*D)


def write(lake, values, run, days=SPAN, **more):
    frame = lake.spark.createDataFrame(values, "ds string, id string")
    return replace_partitions(lake, [Output("things", frame, days, ("id",), **more)], run)


@pytest.fixture
def lake(spark, tmp_path):
    lake = Lake(spark, str(tmp_path / "lake"))
    write(lake, [(ds, one) for ds in D for one in "ab"], Run("test", "config"))
    return lake


@pytest.mark.parametrize(
    ("values", "days", "only"),
    [([(D[0], "a")], SPAN, {}), ([(D[0], "a")], DateRange(D[0], D[0]), {"id": "a"}), ([], SPAN, {})],
    ids=["days", "rows of a value", "nothing left"],
)
def test_a_commit_without_a_record_is_recorded_as_its_job_would_have_done(lake, monkeypatch, values, days, only):
    run = Run("forget", "config", "definition", {"things": 0}, "a.csv", outcome=DROPPED, rows_in=3, rows_rejected=1)
    with monkeypatch.context() as killed:
        killed.setattr(writing, "record", lambda *given: None)
        [written] = write(lake, values, run, days, only=only)
    assert len(recorded_runs(lake)) == 1
    record_lost_commits(lake, ["things", "absent"])
    [record] = [one for one in recorded_runs(lake) if one.run_id == run.run_id]
    wanted = run.finished("things", days, written.version, written.rows)
    assert dataclasses.replace(record, finished_at=wanted.finished_at) == wanted
    assert record.started_at <= wanted.finished_at
    assert record_lost_commits(lake, ["things"]) == []


def test_a_lost_commit_is_found_behind_later_ones(lake, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(writing, "record", lambda *given: None)
        write(lake, [], Run("forget", "config"))
    write(lake, [(D[0], "c")], Run("ingest", "config"))
    assert [record.job for record in record_lost_commits(lake, ["things"])] == ["forget"]


def test_a_record_of_a_former_life_is_none_of_the_commit_with_its_number(lake, monkeypatch):
    write(lake, [], Run("ingest", "config"))
    shutil.rmtree(lake.path("things"))
    with monkeypatch.context() as killed:
        killed.setattr(writing, "record", lambda *given: None)
        write(lake, [(D[0], "a")], Run("ingest", "config"))
        write(lake, [(D[0], "b")], Run("forget", "config"))
    found = record_lost_commits(lake, ["things"])
    assert [(record.job, record.output_version) for record in found] == [("forget", 1), ("ingest", 0)]
    assert record_lost_commits(lake, ["things"]) == []


@pytest.mark.parametrize("by", ["id", None], ids=["clustered", "compacted"])
def test_an_optimize_without_a_record_is_recorded_as_its_job_would_have_done(lake, monkeypatch, by):
    write(lake, [(D[0], "c")], Run("test", "config"), only={"id": "c"})
    run = Run("maintain", "config", inputs={"things": 1}, outcome=OPTIMIZED)
    with monkeypatch.context() as killed:
        killed.setattr(writing, "record", lambda *given: None)
        optimize(lake, "things", DateRange(D[0], D[0]), by, run)
    assert lake.version("things") == 2
    record_lost_commits(lake, ["things"])
    [record] = [one for one in recorded_runs(lake) if one.job == "maintain"]
    wanted = run.finished("things", DateRange(D[0], D[0]), 2, 0)
    assert dataclasses.replace(record, finished_at=wanted.finished_at) == wanted
    assert record_lost_commits(lake, ["things"]) == []


def test_commits_of_others_need_no_record(lake):
    lake.spark.sql(f"OPTIMIZE delta.`{lake.path('things')}` ZORDER BY (id)")
    lake.spark.sql(f"ALTER TABLE delta.`{lake.path('things')}` SET TBLPROPERTIES ('note' = 'ours')")
    assert record_lost_commits(lake, ["things", c.RUNS]) == []


def test_a_commit_of_other_rows_than_were_computed_stays_without_a_record(lake, monkeypatch):
    monkeypatch.setattr(writing, "rows_added", lambda *commit, whole: 1)
    with pytest.raises(WriteVerificationError):
        write(lake, [(ds, "a") for ds in D], Run("test", "config"))
    assert record_lost_commits(lake, ["things"]) == []
