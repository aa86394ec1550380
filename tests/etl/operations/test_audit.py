"""The audit trail on a lake of a few rows: what is recorded, found again, and taken apart down to raw files."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from etl.config import EtlConfig, InteractionsConfig, LakeConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.lake import Lake
from etl.operations.audit import recorded_runs
from etl.operations.errors import UnknownRunError
from etl.operations.lineage import last_writers, lineage
from etl.operations.text import lineage_text, run_rows
from etl.runs import FAILED, Run, runs_frame
from etl.sources.listing import raw_input
from etl.write import Output, append_records, replace_partitions
from scoring.main import main

D = ["2024-02-28", "2024-02-29", "2024-03-01"]
WHOLE = DateRange(D[0], D[2])


def day(ds):
    return DateRange(ds, ds)


def write(lake, table, days, run):
    frame = lake.spark.createDataFrame([(ds, "a") for ds in days], "ds string, query_key string")
    [written] = replace_partitions(lake, [Output(table, frame, days, ("query_key",))], run)
    return written.version


@pytest.fixture(scope="module")
def lake(spark, tmp_path_factory):
    """Three days of events, a day of which came again; two days of partials; windows of two days; an export."""
    root = tmp_path_factory.mktemp("audit")
    for number in range(2):
        (root / "raw").mkdir(exist_ok=True)
        (root / "raw" / f"{number}.csv").write_text("x" * (10 + number))
    lake = Lake(spark, str(root / "lake"))
    raw = raw_input(spark, str(root / "raw"))
    write(lake, c.EVENTS, WHOLE, Run("ingest", "config", source="raw", raw=raw))
    again = write(lake, c.EVENTS, day(D[1]), Run("ingest", "config", source="again"))
    assert again == 1
    for ds, version in ((D[1], 0), (D[2], 1)):
        write(lake, c.INTERACTIONS_DAILY, day(ds), Run("interactions", "config", inputs={c.EVENTS: version}))
    write(lake, c.QUERIES_DAILY, day(D[2]), Run("interactions", "config", inputs={c.EVENTS: 1}))
    inputs = {c.INTERACTIONS_DAILY: 1, c.QUERIES_DAILY: 0}
    write(lake, c.INTERACTIONS, day(D[2]), Run("interactions", "config", "defined", inputs))
    export = {"sources": {c.EVENTS: 1, c.INTERACTIONS: 0}, "start_ds": "2024-03-02", "end_ds": "2024-03-02"}
    (root / "data").mkdir()
    (root / "data" / "manifest.json").write_text(json.dumps(export))
    write(lake, c.MODELS, day("2024-03-03"), Run("promote", "config", "v1", source=str(root / "data")))
    return lake


@pytest.fixture
def config(lake):
    return EtlConfig(lake=LakeConfig(lake.root), interactions=InteractionsConfig(windows_days=(2,)))


pytestmark = pytest.mark.spark


def test_records_are_found_by_table_days_and_number_newest_first(lake):
    assert [run.table for run in recorded_runs(lake, last=3)] == [c.MODELS, c.INTERACTIONS, c.QUERIES_DAILY]
    assert [(run.ds, run.end_ds) for run in recorded_runs(lake, c.EVENTS)] == [(D[1], D[1]), (D[0], D[2])]
    assert [run.output_version for run in recorded_runs(lake, c.EVENTS, day(D[2]))] == [0]


def test_raw_files_are_recorded_with_size_time_and_a_digest(lake):
    raw = recorded_runs(lake, c.EVENTS)[1].raw
    assert (raw.files, raw.bytes, [file.bytes for file in raw.listed]) == (2, 21, [10, 11])
    assert raw.modified_at == max(file.modified_at for file in raw.listed) <= datetime.now(UTC)
    again = raw_input(lake.spark, raw.path)
    assert (again.digest, again) == (raw.digest, raw)


def test_a_changed_file_changes_the_digest(spark, tmp_path):
    (tmp_path / "a.csv").write_text("a")
    before = raw_input(spark, str(tmp_path)).digest
    (tmp_path / "a.csv").write_text("bb")
    assert raw_input(spark, str(tmp_path)).digest != before


def test_a_day_is_taken_apart_down_to_the_files_of_each_version(lake, config):
    tree = lineage(lake, config, c.INTERACTIONS, D[2])
    assert (tree["version"], tree["days"]) == (0, D[2])
    [built] = tree["from"]
    daily, queries = built["from"]
    assert (daily["table"], daily["version"], daily["days"]) == (c.INTERACTIONS_DAILY, 1, f"{D[1]}..{D[2]}")
    older, newer = (run["from"][0] for run in daily["from"])
    assert [(node["version"], node["days"]) for node in (older, newer)] == [(0, D[1]), (1, D[2])]
    # The partial of the first day was made before the day came again.
    assert [file["bytes"] for file in older["from"][0]["from"][0]["listed"]] == [10, 11]
    # What stands in the tree already is named once more only.
    repeated = queries["from"][0]["from"][0]["from"][0]
    assert (repeated["run_id"], repeated["repeated"], repeated["from"]) == (newer["from"][0]["run_id"], True, [])
    assert lineage_text(tree).splitlines()[-1].endswith("(above)")


def test_the_last_write_of_a_day_counts(lake, config):
    [run] = lineage(lake, config, c.EVENTS, D[1])["from"]
    assert (run["output_version"], run["from"]) == (1, [{"kind": "raw", "path": "again"}])


def test_a_decision_about_a_model_leads_to_its_export_and_on(lake, config):
    tree = lineage(lake, config, c.MODELS, "2024-03-03")
    [export] = tree["from"][0]["from"]
    assert (export["kind"], export["days"]) == ("export", "2024-03-02")
    assert [(node["table"], node["version"]) for node in export["from"]] == [(c.EVENTS, 1), (c.INTERACTIONS, 0)]
    assert export["from"][1]["days"] == D[2]
    lines = lineage_text(tree).splitlines()
    assert lines[0] == f"{c.MODELS}@0 2024-03-03"
    assert any("raw 2 files, 21 bytes" in line for line in lines)


def test_a_day_that_no_run_wrote_is_an_error(lake, config):
    with pytest.raises(UnknownRunError, match="no run has written 2024-01-01 of 'events'"):
        lineage(lake, config, c.EVENTS, "2024-01-01")


def test_a_table_of_runs_from_before_these_columns_is_read_and_grows(spark, tmp_path):
    lake = Lake(spark, str(tmp_path))
    record = Run("ingest", "config").finished(c.EVENTS, WHOLE, 0, 3)
    old = runs_frame(spark, [record]).drop("error", "raw")
    old.write.format("delta").partitionBy("ds").save(lake.path(c.RUNS))
    [found] = recorded_runs(lake)
    assert found == record
    append_records(lake, [Run("score", "config").failed(c.SCORES, None, "why")])
    failed = recorded_runs(lake)[0]
    assert (failed.status, failed.error, failed.ds, failed.end_ds) == (FAILED, "why", "", "")
    assert run_rows([failed.plain()])[0]["days"] == "-"


def failing(root, *more):
    words = ["ingest", "--source", "csv", "--input", f"{root}/nothing", "--ds", D[0], "--set", f"lake.root={root}/lake"]
    return main([*words, *more])


def test_a_job_that_fails_leaves_a_record_and_its_own_error(spark, tmp_path, capsys):
    assert failing(tmp_path) == 1
    assert "no such file or folder" in capsys.readouterr().err
    [run] = recorded_runs(Lake(spark, f"{tmp_path}/lake"))
    assert (run.job, run.table, run.ds, run.status, run.output_version) == ("ingest", c.EVENTS, D[0], FAILED, None)
    assert run.error.endswith("check the path; a glob must match at least one file")
    assert main(["runs", "--set", f"lake.root={tmp_path}/lake"]) == 0
    assert "failed" in capsys.readouterr().out


def test_a_record_that_cannot_be_written_does_not_hide_the_error(spark, tmp_path, capsys):
    (tmp_path / "lake").write_text("not a folder")
    assert failing(tmp_path) == 1
    err = capsys.readouterr().err
    assert "no such file or folder" in err
    assert "could not be recorded" in err


def test_a_wrong_folder_stays_as_it_is(spark, tmp_path, capsys):
    assert main(["interactions", "--ds", D[0], "--set", f"lake.root={tmp_path}/lake"]) == 1
    assert not (tmp_path / "lake").exists()
    capsys.readouterr()


def test_last_writers_are_those_of_a_replay():
    draw = random.Random(5)
    days = WHOLE.days()
    for _ in range(50):
        writes = []
        for version in range(6):
            span = DateRange(*sorted(draw.choices(days, k=2)))
            writes.append(Run("job", "config").finished("events", span, version, 1))
        limit, asked = draw.randrange(6), DateRange(*sorted(draw.choices(days, k=2)))
        replayed = {ds: write.run_id for write in writes[: limit + 1] for ds in DateRange(write.ds, write.end_ds)}
        wanted = {replayed[ds] for ds in asked if ds in replayed}
        found = last_writers(writes, limit, asked)
        assert {record.run_id for record, _ in found} == wanted
        assert all(replayed[span.start] == record.run_id for record, span in found)


def test_writes_of_two_model_versions_stand_beside_each_other():
    writes = [Run("score", "config", name).finished(c.SCORES, WHOLE, at, 1) for at, name in enumerate(("v1", "v2"))]
    assert [record.definition_hash for record, _ in last_writers(writes, 1, day(D[0]))] == ["v1", "v2"]
    newest = replace(writes[0], output_version=2, run_id="x")
    assert {record.run_id for record, _ in last_writers([*writes, newest], 2, day(D[0]))} == {
        "x", writes[1].run_id,
    }  # fmt: skip
