from datetime import UTC, datetime

import pytest

from etl.contract.dates import DateRange
from etl.runs import SUCCEEDED, Run, pinned_inputs, runs_frame


def finished():
    run = Run("ingest", "config", "definition", inputs={"b": 2, "a": 1}, source="log.csv", rows_in=5, rows_rejected=1)
    return run, run.finished("events", DateRange("2024-02-28", "2024-02-29"), 7, 4)


def test_a_record_says_what_was_written_from_what():
    run, record = finished()
    assert record.inputs == ["a@1", "b@2", "log.csv"]
    assert (record.table, record.ds, record.end_ds, record.output_version) == ("events", "2024-02-28", "2024-02-29", 7)
    assert (record.rows_in, record.rows_out, record.rows_rejected, record.status) == (5, 4, 1, SUCCEEDED)
    assert record.run_id == run.run_id
    assert run.started_at <= record.finished_at <= datetime.now(UTC)


def test_only_names_of_tables_are_read_as_versions_of_tables():
    inputs = ["events@3", "/data/log@12", "s3a://key@bucket/log@5", "Log@1", "log.csv@2", "b_2@x", "items@0"]
    assert pinned_inputs(inputs) == {"events": 3, "items": 0}


def test_runs_have_names_of_their_own():
    assert finished()[0].run_id != finished()[0].run_id


@pytest.mark.spark
def test_records_become_rows_field_by_field(spark):
    _, record = finished()
    [row] = runs_frame(spark, [record]).collect()
    plain = {name: value for name, value in vars(record).items() if not name.endswith("_at")}
    assert {name: row[name] for name in plain} == plain
