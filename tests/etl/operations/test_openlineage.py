"""Which events a run becomes, and that a lineage service never stops a job; the client is a stand-in."""

import sys
import types
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from etl.contract.dates import DateRange
from etl.operations import openlineage
from etl.operations.openlineage import configured, dataset_name, emit
from etl.runs import Run

DAY = DateRange("2024-03-01", "2024-03-01")


class Client:
    sent: ClassVar[list[Any]] = []
    refuses = False

    def emit(self, event: Any) -> None:
        if Client.refuses:
            raise ConnectionError("nobody there")
        Client.sent.append(event)


@dataclass
class Dataset:
    namespace: str
    name: str
    inputFacets: dict[str, Any] = field(default_factory=dict)
    outputFacets: dict[str, Any] = field(default_factory=dict)
    facets: dict[str, Any] = field(default_factory=dict)


def plain(*names: str) -> type:
    """A class with these fields, in this order."""

    class Plain:
        def __init__(self, *values: Any, **named: Any):
            vars(self).update(dict(zip(names, values, strict=False)) | named)

    return Plain


@pytest.fixture
def client(monkeypatch):
    """The modules of openlineage-python that are used, with its signatures."""
    v2 = types.SimpleNamespace(
        Job=plain("namespace", "name"), Run=plain("runId", "facets"), RunEvent=plain(), InputDataset=Dataset,
        OutputDataset=Dataset, RunState=types.SimpleNamespace(START="START", COMPLETE="COMPLETE", FAIL="FAIL"),
    )  # fmt: skip
    facets = types.SimpleNamespace(
        error_message_run=types.SimpleNamespace(ErrorMessageRunFacet=plain("message", "programmingLanguage")),
        dataset_version_dataset=types.SimpleNamespace(DatasetVersionDatasetFacet=plain("datasetVersion")),
        output_statistics_output_dataset=types.SimpleNamespace(
            OutputStatisticsOutputDatasetFacet=plain("rowCount", "size")
        ),
    )
    module = types.ModuleType("openlineage.client")
    vars(module).update(OpenLineageClient=Client, event_v2=v2, facet_v2=facets)
    for name, found in (
        ("openlineage", types.ModuleType("openlineage")), ("openlineage.client", module),
        ("openlineage.client.event_v2", v2), ("openlineage.client.facet_v2", facets),
    ):  # fmt: skip
        monkeypatch.setitem(sys.modules, name, found)
    openlineage._client.cache_clear()
    monkeypatch.setenv("OPENLINEAGE_URL", "http://lineage:5000")
    monkeypatch.setattr(Client, "sent", [])
    monkeypatch.setattr(Client, "refuses", False)
    yield Client
    openlineage._client.cache_clear()


def records(run):
    return [run.finished(table, DAY, 7, 4) for table in ("events_rejected", "events")]


def test_a_run_becomes_a_start_and_a_complete_event_over_all_its_tables(client):
    run = Run("ingest", "config", inputs={"events": 6})
    emit(records(run), "s3a://bucket/lake")
    start, complete = client.sent
    assert (start.eventType, complete.eventType) == ("START", "COMPLETE")
    assert start.run.runId.replace("-", "") == complete.run.runId.replace("-", "") == run.run_id
    assert start.eventTime == run.started_at.isoformat() <= complete.eventTime
    assert (complete.job.namespace, complete.job.name) == ("prerank", "ingest")
    [read] = complete.inputs
    assert (read.namespace, read.name) == ("s3://bucket", "lake/events")
    assert read.facets["version"].datasetVersion == "6"
    assert [(one.name, one.facets["version"].datasetVersion) for one in complete.outputs] == [
        ("lake/events_rejected", "7"), ("lake/events", "7"),
    ]  # fmt: skip
    assert complete.outputs[0].outputFacets["outputStatistics"].rowCount == 4


def test_a_failed_run_becomes_a_fail_event_with_its_message(client):
    run = Run("score", "config")
    emit([run.failed("scores", DAY, "no champion")], "/lake")
    assert [event.eventType for event in client.sent] == ["START", "FAIL"]
    assert client.sent[1].run.facets["errorMessage"].message == "no champion"
    assert client.sent[1].outputs == []


def test_a_service_that_is_down_is_a_warning(client, monkeypatch):
    monkeypatch.setattr(Client, "refuses", True)
    with pytest.warns(UserWarning, match="no OpenLineage event was sent: nobody there"):
        emit(records(Run("ingest", "config")), "/lake")


def test_a_client_that_is_not_installed_is_a_warning(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "openlineage.client", None)
    with pytest.warns(UserWarning, match=r"pip install 'prerank\[openlineage\]'"):
        emit(records(Run("ingest", "config")), "/lake")


def test_nothing_is_sent_unless_a_transport_is_configured(client, monkeypatch, tmp_path):
    monkeypatch.delenv("OPENLINEAGE_URL")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    emit(records(Run("ingest", "config")), "/lake")
    assert client.sent == []


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


def test_raw_files_are_an_input_with_the_digest_of_their_listing(client):
    from datetime import UTC, datetime

    from etl.runs import RawInput

    raw = RawInput("s3://logs/day", 2, 10, datetime(2024, 3, 1, tzinfo=UTC), "abc", [])
    run = replace(Run("ingest", "config"), raw=raw)
    emit(records(run), "/lake")
    [read] = client.sent[1].inputs
    assert (read.namespace, read.name, read.facets["version"].datasetVersion) == ("s3://logs", "day", "abc")
