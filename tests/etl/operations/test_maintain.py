"""What maintenance takes away, and that nothing else changes: tables before and after, and versions in use."""

import json
import os
import shutil
import time
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import pytest
from pyspark.errors import AnalysisException

import etl.operations.maintain
import etl.write
from etl.config import EtlConfig, ExportConfig, InteractionsConfig, LakeConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, ranges_of
from etl.contract.errors import UsageError
from etl.contract.settings import load
from etl.lake import Lake, data_files
from etl.operations.audit import recorded_runs
from etl.operations.config import MaintainConfig
from etl.operations.errors import DamagedReferenceError, UnknownVersionError
from etl.operations.maintain import maintain
from etl.operations.references import Reference, reference_of, references_below
from etl.operations.retention import days_to_drop, first_kept
from etl.plan import read_history
from etl.runs import DROPPED, OPTIMIZED, Run, RunRecord
from etl.storage_errors import DamagedLogError
from etl.tiles import table_of
from etl.write import Output, replace_partitions
from tests.etl.logs import contents

D = ["2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01"]
TODAY = "2024-03-02"
DAY_SECONDS = 86_400


def written(folder: Path, name: str, **plain: object) -> Path:
    folder.mkdir(parents=True)
    (folder / name).write_text(json.dumps(plain))
    return folder


def test_exports_models_and_files_for_serving_say_what_they_were_made_from(tmp_path):
    written(tmp_path / "a", "manifest.json", sources={"events": 3}, start_ds=D[0], end_ds=D[1])
    written(tmp_path / "b" / "v1", "model.json", data={"sources": {"items": 0}, "start_ds": D[0], "end_ds": D[0]})
    written(tmp_path / "c", "manifest.json", tables={"events": 5})
    written(tmp_path / "d", "manifest.json", program="another")
    assert list(references_below(tmp_path)) == [
        Reference(str(tmp_path / "a"), "export", {"events": 3}, D[0], D[1]),
        Reference(str(tmp_path / "b" / "v1"), "model", {"items": 0}, D[0], D[0]),
        Reference(str(tmp_path / "c"), "serving", {"events": 5}),
    ]
    assert reference_of(tmp_path) is None
    (tmp_path / "d" / "manifest.json").write_text("{")
    with pytest.raises(DamagedReferenceError, match="Nothing was removed"):
        list(references_below(tmp_path))


def test_days_are_kept_up_to_today_and_tiles_as_long_as_one_of_their_days():
    first = first_kept({c.INTERACTIONS_DAILY: 10, c.INTERACTIONS: 2}, "2024-03-10")
    assert first[c.INTERACTIONS_DAILY] == first[table_of(1)] == "2024-03-01"
    assert (first[table_of(4)], first[table_of(64)]) == ("2024-02-27", "2023-12-29")
    assert first[c.INTERACTIONS] == first[c.QUERY_ITEMS] == "2024-03-09"
    assert c.EVENTS not in first


@pytest.mark.parametrize(
    ("table", "first", "dropped"),
    [
        (c.EVENTS, D[2], (D[0], D[1])),
        (c.EVENTS, D[0], None),
        (c.ITEMS, D[2], (D[0], D[1])),
        # No snapshot of the day itself: what was the newest then is still read.
        (c.ITEMS, "2024-03-09", (D[0], D[2])),
        (c.ITEMS, "2024-01-01", None),
    ],
)
def test_of_catalogues_the_newest_snapshot_before_stays(table, first, dropped):
    found = days_to_drop(table, D, first)
    assert found == (None if dropped is None else DateRange(*dropped))


@pytest.mark.parametrize(
    "setting", ["maintain.retention_days={events: 60}", "maintain.retention_days={models: 9}", "maintain.vacuum_days=3"]
)
def test_settings_that_would_take_away_what_is_needed_are_refused(setting):
    from scoring.config import PrerankConfig

    with pytest.raises(UsageError):
        load(PrerankConfig, None, {}, [setting])


def put(lake, table, ds, value, **run):
    rows = [(ds, f"query {number}", f"e{number}", value) for number in range(8)]
    frame = lake.spark.createDataFrame(rows, "ds string, query_key string, event_id string, value int")
    output = Output(table, frame, DateRange(ds, ds), ("query_key", "event_id"))
    [done] = replace_partitions(lake, [output], Run("test", "config", **run))
    return done.version


@pytest.fixture(scope="module")
def written_lake(spark, tmp_path_factory):
    """Four days of events of two files each; the third came three times, the second twice."""
    lake = Lake(spark, str(tmp_path_factory.mktemp("written") / "lake"))
    for ds in D:
        put(lake, c.EVENTS, ds, 0)
    for version, ds in ((4, D[2]), (5, D[2]), (6, D[1])):
        assert put(lake, c.EVENTS, ds, version) == version
    put(lake, c.EVENTS_REJECTED, D[0], 0)
    # As if Delta had forgotten what it took out: VACUUM alone would then spare nothing but the newest version.
    spark.sql(
        f"ALTER TABLE delta.`{lake.path(c.EVENTS)}` SET TBLPROPERTIES "
        "('delta.deletedFileRetentionDuration' = 'interval 0 hours')"
    )
    lake.refresh(c.EVENTS)
    for path in Path(lake.root).rglob("*.parquet"):
        if "_delta_log" not in path.parts:
            os.utime(path, (time.time() - 60 * DAY_SECONDS,) * 2)
    return lake


@pytest.fixture
def lake(written_lake, tmp_path):
    """A copy of that lake, ages of files included."""
    return Lake(written_lake.spark, str(shutil.copytree(written_lake.root, tmp_path / "lake")))


@pytest.fixture
def config(lake):
    return EtlConfig(
        lake=LakeConfig(lake.root),
        interactions=InteractionsConfig(windows_days=(2,)),
        export=ExportConfig(history_days=2),
        maintain=MaintainConfig(retention_days={c.EVENTS: 3}),
    )


@pytest.fixture
def export(tmp_path):
    return written(tmp_path / "exports" / "data", "manifest.json", sources={c.EVENTS: 3, c.ITEMS: 7}).parent


def at_version(lake, version):
    return contents(lake.spark.read.format("delta").option("versionAsOf", version).load(lake.path(c.EVENTS)))


def files(lake):
    return {path.name for path in Path(lake.path(c.EVENTS)).glob("ds=*/*.parquet")}


def of_version(lake, version=None):
    reader = lake.spark.read.format("delta")
    reader = reader if version is None else reader.option("versionAsOf", version)
    return {file.rpartition("/")[2] for file in reader.load(lake.path(c.EVENTS)).inputFiles()}


@pytest.mark.spark
@pytest.mark.slow
def test_old_days_go_queries_are_clustered_and_versions_in_use_stay(lake, config, export, capfd):
    before, pinned, refused = contents(lake.read(c.EVENTS)), at_version(lake, 3), contents(lake.read(c.EVENTS_REJECTED))
    newest, held, kept = lake.version(c.EVENTS), files(lake), of_version(lake, 3)

    # Which rows share a file is a hash's affair: some days have one file only.
    current = [path for path in Path(lake.path(c.EVENTS)).glob("ds=*/*.parquet") if path.name in of_version(lake)]
    several = ranges_of([ds for ds in D[2:] if sum(ds in path.parts[-2] for path in current) > 1])
    assert several

    part = Path(lake.root) / "_scoring" / D[0] / "part-0.parquet"
    part.parent.mkdir(parents=True)
    part.write_text("user ids")
    would = maintain(lake, config, TODAY, [export], dry_run=True)
    assert (lake.version(c.EVENTS), files(lake)) == (newest, held)
    assert (would.scored_parts, part.exists()) == (1, True)

    done = maintain(lake, config, TODAY, [export])
    assert (done.scored_parts, part.exists()) == (1, False)
    [events] = [upkeep for upkeep in done.tables if upkeep.table == c.EVENTS]
    assert (events.dropped, events.optimized) == (DateRange(D[0], D[1]), several)
    assert list(events.kept_versions) == [3]
    assert [(one.table, one.dropped, one.optimized) for one in would.tables if one.table == c.EVENTS] == [
        (c.EVENTS, events.dropped, events.optimized)
    ]
    # Stdout is for results.
    assert capfd.readouterr().out == ""
    # The rows: less the days that went, and nothing else.
    lake.refresh(c.EVENTS)
    assert contents(lake.read(c.EVENTS)) == [row for row in before if {*row} & {*D[2:]}]
    assert contents(lake.read(c.EVENTS_REJECTED)) == refused
    # The version in use reads as before; what no one needs is gone.
    assert at_version(lake, 3) == pinned
    assert files(lake) == kept | of_version(lake)
    assert events.removed_files == len(held - kept - of_version(lake)) > 0
    # One file a day, which holds its queries together.
    assert len(of_version(lake)) == 2
    days = read_history(lake, (c.EVENTS,))[c.EVENTS]
    assert sorted(days) == D[2:]
    statuses = [row.status for row in lake.read(c.RUNS).where("job = 'maintain'").collect()]
    assert {*statuses} == {DROPPED, OPTIMIZED}

    again = maintain(lake, config, TODAY, [export])
    [events] = [upkeep for upkeep in again.tables if upkeep.table == c.EVENTS]
    assert (events.dropped, events.optimized, events.removed_files) == (None, [], 0)
    # A day that comes back is one that was written.
    put(lake, c.EVENTS, D[1], 9)
    assert sorted(read_history(lake, (c.EVENTS,))[c.EVENTS]) == D[1:]


@pytest.mark.spark
def test_killed_before_it_could_record_an_optimize_it_leaves_the_record_to_the_next_run(lake, config, monkeypatch):
    left: list[RunRecord] = []

    def killed(lake, run, written):
        left.extend(run.finished(one.table, one.days, one.version, one.rows) for one in written)
        if run.outcome == OPTIMIZED:
            raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(etl.write, "record", killed)
        with pytest.raises(KeyboardInterrupt):
            maintain(lake, config, TODAY, [])
    assert [(one.status, one.rows_out) for one in left] == [(DROPPED, 0), (OPTIMIZED, 0)]
    [events, *_] = maintain(Lake(lake.spark, lake.root), config, TODAY, []).tables
    ours = [one for one in recorded_runs(lake) if one.run_id in {record.run_id for record in left}]
    untimed = [replace(one, finished_at=one.started_at) for one in (*ours, *left)]
    assert sorted(untimed[:2], key=attrgetter("status")) == untimed[2:]
    # What was clustered is not clustered again.
    assert not {*DateRange(left[1].ds, left[1].end_ds)} & {ds for days in events.optimized for ds in days}


@pytest.mark.spark
@pytest.mark.slow
def test_registered_models_and_recent_runs_keep_what_they_were_made_from(lake, config, tmp_path):
    folder = written(tmp_path / "versions" / "m" / "v1", "model.json", data={"sources": {c.EVENTS: 4, c.QUERIES: 1}})
    row = [(TODAY, "m", str(folder), str(tmp_path / "gone"))]
    frame = lake.spark.createDataFrame(row, "ds string, model_version string, path string, data string")
    replace_partitions(
        lake,
        [Output(c.MODELS, frame, DateRange(TODAY, TODAY), ("model_version",))],
        Run("promote", "config", inputs={c.EVENTS: 5, c.EVENTS_REJECTED: 99}),
    )
    rows = {version: at_version(lake, version) for version in (4, 5)}
    os.utime(f"{lake.path(c.EVENTS)}/_delta_log/{4:020d}.json", (time.time() - 40 * DAY_SECONDS,) * 2)
    done = maintain(lake, config, TODAY, [])
    by_table = {upkeep.table: upkeep for upkeep in done.tables}
    assert by_table[c.EVENTS].kept_versions == {4: [f"model {folder}"], 5: ["run promote"]}
    assert by_table[c.EVENTS_REJECTED].lost_versions == [99]
    assert done.missing == [str(tmp_path / "gone")]
    assert {version: at_version(lake, version) for version in rows} == rows
    assert of_version(lake, 4) | of_version(lake, 5) <= files(lake)
    # Its log entry is older than Delta keeps them of its own accord.
    [detail] = lake.spark.sql(f"DESCRIBE DETAIL delta.`{lake.path(c.EVENTS)}`").collect()
    assert detail.properties["delta.logRetentionDuration"] == "interval 110 days"


@pytest.mark.spark
def test_a_damaged_manifest_stops_it_before_anything_changes(lake, config, export):
    (export / "data" / "manifest.json").write_text("{")
    newest, held = lake.version(c.EVENTS), files(lake)
    with pytest.raises(DamagedReferenceError):
        maintain(lake, config, TODAY, [export])
    lake.refresh(c.EVENTS)
    assert (lake.version(c.EVENTS), files(lake)) == (newest, held)


@pytest.mark.spark
def test_a_version_that_storage_does_not_tell_of_stops_it_before_anything_changes(lake, config, export, monkeypatch):
    def throttled(lake, table, version):
        # Of a table that comes after the one that is changed first.
        if table == c.EVENTS_REJECTED:
            raise AnalysisException("Status Code: 503; Error Code: SlowDown")
        return data_files(lake, table, version)

    (export / "data" / "manifest.json").write_text(json.dumps({"sources": {c.EVENTS: 3, c.EVENTS_REJECTED: 0}}))
    newest, held = lake.version(c.EVENTS), files(lake)
    monkeypatch.setattr(etl.operations.maintain, "data_files", throttled)
    with pytest.raises(UnknownVersionError, match=r"version 0 of 'events_rejected'.*SlowDown.*export .*Nothing was"):
        maintain(lake, config, TODAY, [export])
    lake.refresh(c.EVENTS)
    assert (lake.version(c.EVENTS), files(lake)) == (newest, held)


@pytest.mark.spark
def test_a_damaged_log_entry_stops_it_before_any_file_goes(lake, config, export):
    path = lake.path(c.EVENTS)
    lake.spark._jvm.org.apache.spark.sql.delta.DeltaLog.forTable(lake.spark._jsparkSession, path).checkpoint()
    log = Path(path) / "_delta_log"
    (log / f"{3:020d}.json").write_text("cut off")
    (log / f".{3:020d}.json.crc").unlink()
    newest, held = lake.version(c.EVENTS), files(lake)
    with pytest.raises(DamagedLogError, match=r"table 'events'.*0003\.json is not whole JSON"):
        maintain(lake, config, TODAY, [export])
    lake.refresh(c.EVENTS)
    assert (lake.version(c.EVENTS), files(lake)) == (newest, held)
