"""Two writers of one table: who waits, who tries again, who gives up, and what each is told."""

import logging
import shutil
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from etl import conflicts
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.lake import Lake
from etl.one_writer import one_writer
from etl.runs import Run
from etl.write import Output, replace_partitions
from etl.write_errors import ChangedMeanwhileError, TableBusyError, WriteConflictError

pytestmark = [pytest.mark.spark, pytest.mark.faults]

D = ["2024-02-27", "2024-02-28", "2024-02-29"]
SPAN = DateRange(D[0], D[2])


def rows(lake, value, days=SPAN):
    return lake.spark.createDataFrame([(ds, "a", value) for ds in days], "ds string, id string, value int")


def write(lake, value, days=SPAN, frame=None, read=None):
    output = Output("things", rows(lake, value, days) if frame is None else frame, days, ("id",), read=read)
    [written] = replace_partitions(lake, [output], Run("test", "config"))
    return written


def held(lake):
    lake.refresh("things")
    return {row.ds: row.value for row in lake.read("things").collect()}


@pytest.fixture
def lake(spark, tmp_path):
    lake = Lake(spark, str(tmp_path / "lake"))
    write(lake, 0)
    return lake


@pytest.fixture
def unlocked(monkeypatch):
    """As on an object store, where only Delta stands between two writers."""
    monkeypatch.setattr(conflicts, "one_writer", lambda *given: nullcontext())
    monkeypatch.setattr(conflicts, "_PAUSE_SECONDS", 0.0)


class Meeting:
    """A write that has begun is held until others have committed."""

    def __init__(self, lake, folder: Path, value: int, days=SPAN):
        self.begun, self.goes_on, self.lake = folder / "begun", folder / "goes-on", lake
        begun, goes_on = str(self.begun), str(self.goes_on)

        def wait(batches):
            Path(begun).touch()
            while not Path(goes_on).exists():
                time.sleep(0.02)
            yield from batches

        # One task: the other core is for those who meet it.
        frame = rows(lake, value, days).coalesce(1).mapInArrow(wait, "ds string, id string, value int")
        self.done, self.failure = [], []
        self.thread = threading.Thread(target=self._write, args=(Lake(lake.spark, lake.root), value, days, frame))
        self.thread.start()
        while not self.begun.exists():
            time.sleep(0.02)

    def _write(self, lake, value, days, frame):
        try:
            self.done.append(write(lake, value, days, frame))
        except WriteConflictError as error:
            self.failure.append(error)

    def end(self):
        self.goes_on.touch()
        self.thread.join()


def test_the_loser_of_a_commit_tries_again_and_says_who_won(lake, unlocked, tmp_path, caplog):
    meeting = Meeting(lake, tmp_path, 1)
    winner = write(Lake(lake.spark, lake.root), 2, DateRange(D[1], D[1]))
    with caplog.at_level(logging.WARNING):
        meeting.end()
    assert held(lake) == dict.fromkeys(D, 1)
    [loser] = meeting.done
    assert (loser.rows, loser.version) == (3, winner.version + 1)
    [said] = [record.message for record in caplog.records if "attempt 2 of 5" in record.message]
    by = {row.output_version: row.run_id for row in lake.read(c.RUNS).collect()}
    assert f"run {by[winner.version]} (job test, started 2" in said


def test_other_days_of_the_same_table_are_no_conflict(lake, unlocked, tmp_path, caplog):
    meeting = Meeting(lake, tmp_path, 1, DateRange(D[0], D[1]))
    write(Lake(lake.spark, lake.root), 2, DateRange(D[2], D[2]))
    with caplog.at_level(logging.WARNING):
        meeting.end()
    assert held(lake) == {D[0]: 1, D[1]: 1, D[2]: 2}
    assert not [record for record in caplog.records if record.name == "etl.conflicts"]


def test_who_never_wins_names_the_run_that_does(lake, unlocked, tmp_path, monkeypatch):
    monkeypatch.setattr(conflicts, "_ATTEMPTS", 1)
    meeting = Meeting(lake, tmp_path, 1)
    write(Lake(lake.spark, lake.root), 2)
    meeting.end()
    [error] = meeting.failure
    assert "(job test, started 2" in str(error)
    assert "run the same command again" in str(error)
    assert error.retryable
    assert held(lake) == dict.fromkeys(D, 2)


def test_the_record_names_the_version_of_its_own_commit(lake, monkeypatch):
    other, settled = Lake(lake.spark, lake.root), conflicts.settled

    def overtaken(lake, table, own, commit):
        done = settled(lake, table, own, commit)
        if table == "things" and lake is not other:
            write(other, 7, DateRange(D[0], D[0]))
        return done

    monkeypatch.setattr("etl.write.settled", overtaken)
    first = write(lake, 5)
    assert (first.version, first.rows, lake.read("things").where("value = 5").count()) == (1, 3, 3)
    assert held(lake) == {D[0]: 7, D[1]: 5, D[2]: 5}


def test_rows_made_from_the_table_itself_do_not_undo_what_another_job_wrote_since(lake):
    read = lake.version("things")
    grown = lake.read("things", SPAN).withColumn("value", F.col("value") + 1)
    write(Lake(lake.spark, lake.root), 9, DateRange(D[1], D[1]))
    with pytest.raises(
        ChangedMeanwhileError, match=r"job test, started .* after this job had read version 0"
    ) as caught:
        write(lake, 0, DateRange(D[0], D[1]), grown, read)
    assert caught.value.retryable
    assert held(lake) == {D[0]: 0, D[1]: 9, D[2]: 0}
    write(lake, 0, DateRange(D[2], D[2]), grown, read)
    assert held(lake) == {D[0]: 0, D[1]: 9, D[2]: 1}


def test_rows_made_while_there_was_no_table_do_not_replace_those_of_the_job_that_made_it(lake):
    with pytest.raises(ChangedMeanwhileError):
        write(lake, 1, read=-1)
    assert held(lake) == dict.fromkeys(D, 0)
    shutil.rmtree(lake.path("things"))
    write(Lake(lake.spark, lake.root), 2, read=-1)
    assert held(lake) == dict.fromkeys(D, 2)


def test_threads_of_one_process_wait_for_each_other(lake, tmp_path):
    meeting = Meeting(lake, tmp_path, 1)
    second = threading.Thread(target=write, args=(Lake(lake.spark, lake.root), 2, DateRange(D[1], D[1])))
    second.start()
    second.join(timeout=1.0)
    assert second.is_alive()
    meeting.end()
    second.join()
    assert held(lake) == {D[0]: 1, D[1]: 2, D[2]: 1}


@pytest.fixture
def another(lake):
    """Another process that holds the lock of ``things``, as Java's are."""
    who = {"run_id": "abc", "job": "backfill", "started_at": "2026-01-01T10:00:00+00:00"}
    with one_writer(lake, "things", who):
        pass
    path = f"{lake.root}/_locks/things.lock"
    take = f"import fcntl; file = open({path!r}, 'r+'); fcntl.lockf(file, fcntl.LOCK_EX); print(flush=True); input()"
    words = [sys.executable, "-c", take]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_a_lock_that_stays_is_an_error_that_names_its_holder(lake, another):
    with (
        pytest.raises(TableBusyError, match=r"run abc \(job backfill, started 2026-01-01T10:00:00") as caught,
        one_writer(lake, "things", {"job": "test"}, most_seconds=0.3),
    ):
        pytest.fail("the lock was taken")
    assert caught.value.retryable


def test_the_lock_of_a_killed_process_is_free_again(lake, another, caplog):
    writer = threading.Thread(target=write, args=(lake, 3))
    with caplog.at_level(logging.WARNING):
        writer.start()
        writer.join(timeout=1.0)
        assert writer.is_alive()
        another.kill()
        writer.join()
    assert held(lake) == dict.fromkeys(D, 3)
    assert "table 'things' is being written by run abc (job backfill" in caplog.text
