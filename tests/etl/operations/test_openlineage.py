"""Which events a run becomes, by the client itself, and that a lineage service never stops a job."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etl.contract.dates import DateRange
from etl.operations import openlineage
from etl.operations.openlineage import configured, dataset_name, emit
from etl.runs import RawInput, Run

DAY = DateRange("2024-03-01", "2024-03-01")


@pytest.fixture
def sent(monkeypatch, tmp_path) -> Callable[[], list[Any]]:
    """The events that the client has written to a file so far; nothing else is configured."""
    events = tmp_path / "events.json"
    for name, value in (("TYPE", "file"), ("LOG_FILE_PATH", str(events)), ("APPEND", "true")):
        monkeypatch.setenv(f"OPENLINEAGE__TRANSPORT__{name}", value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    openlineage._client.cache_clear()
    yield lambda: [json.loads(line) for line in events.read_text().splitlines()] if events.exists() else []
    openlineage._client.cache_clear()


def records(run):
    return [run.finished(table, DAY, 7, 4) for table in ("events_rejected", "events")]


def version(dataset: dict[str, Any]) -> str:
    return dataset["facets"]["version"]["datasetVersion"]


def test_a_run_becomes_a_start_and_a_complete_event_over_all_its_tables(sent):
    run = Run("ingest", "config", inputs={"events": 6})
    emit(records(run), "s3a://bucket/lake")
    start, complete = sent()
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"].replace("-", "") == complete["run"]["runId"].replace("-", "") == run.run_id
    assert start["eventTime"] == run.started_at.isoformat() <= complete["eventTime"]
    assert (complete["job"]["namespace"], complete["job"]["name"]) == ("prerank", "ingest")
    [read] = complete["inputs"]
    assert (read["namespace"], read["name"], version(read)) == ("s3://bucket", "lake/events", "6")
    assert [(one["name"], version(one)) for one in complete["outputs"]] == [
        ("lake/events_rejected", "7"), ("lake/events", "7"),
    ]  # fmt: skip
    assert complete["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 4


def test_a_failed_run_becomes_a_fail_event_with_its_message(sent):
    run = Run("score", "config")
    emit([run.failed("scores", DAY, "no champion")], "/lake")
    events = sent()
    assert [event["eventType"] for event in events] == ["START", "FAIL"]
    assert events[1]["run"]["facets"]["errorMessage"]["message"] == "no champion"
    assert events[1]["outputs"] == []


def test_a_service_that_is_down_is_a_warning(sent, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH", str(tmp_path / "no" / "such" / "folder"))
    with pytest.warns(UserWarning, match="no OpenLineage event was sent: "):
        emit(records(Run("ingest", "config")), "/lake")


def test_a_client_that_is_not_installed_is_a_warning(sent, monkeypatch):
    monkeypatch.setitem(sys.modules, "openlineage.client", None)
    with pytest.warns(UserWarning, match=r"pip install 'prerank\[openlineage\]'"):
        emit(records(Run("ingest", "config")), "/lake")


def test_nothing_is_sent_unless_a_transport_is_configured(sent, monkeypatch):
    for name in ("TYPE", "LOG_FILE_PATH", "APPEND"):
        monkeypatch.delenv(f"OPENLINEAGE__TRANSPORT__{name}")
    emit(records(Run("ingest", "config")), "/lake")
    assert sent() == []


def test_a_transport_is_an_address_or_a_file(tmp_path: Path):
    assert not configured({"OPENLINEAGE_URL": ""}, [tmp_path])
    assert configured({"OPENLINEAGE_URL": "http://x"}, [])
    assert configured({"OPENLINEAGE__TRANSPORT__TYPE": "console"}, [])
    (tmp_path / "openlineage.yml").touch()
    assert configured({}, [tmp_path])
    assert not configured({"OPENLINEAGE_DISABLED": "True"}, [tmp_path])


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("/lake/events", ("file", "/lake/events")),
        ("file:/lake/events", ("file", "/lake/events")),
        ("file:///lake/events", ("file", "/lake/events")),
        ("s3a://b/lake/events", ("s3://b", "lake/events")),
        ("hdfs://host:8020/lake", ("hdfs://host:8020", "lake")),
    ],
)
def test_datasets_are_named_by_file_system_and_path(uri, name):
    assert dataset_name(uri) == name


def test_raw_files_are_an_input_with_the_digest_of_their_listing(sent):
    raw = RawInput("s3://logs/day", 2, 10, datetime(2024, 3, 1, tzinfo=UTC), "abc", [])
    run = replace(Run("ingest", "config"), raw=raw)
    emit(records(run), "/lake")
    [read] = sent()[1]["inputs"]
    assert (read["namespace"], read["name"], version(read)) == ("s3://logs", "day", "abc")
