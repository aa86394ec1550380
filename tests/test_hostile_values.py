"""Hostile names, ids and texts at the front door: nothing leaves its folder, shows a secret, or acts on a terminal."""

import json
import sys
from typing import Any

import pytest

from etl.contract.errors import ManifestError, UnknownNameError, UsageError
from etl.contract.manifest import FORMAT_VERSION, read_manifest
from etl.contract.masking import HIDDEN, Masks
from etl.contract.settings import load
from etl.errors import GateError
from etl.lake import Lake
from etl.operations.config import ROWS
from etl.operations.failures import first_line
from etl.operations.figures import Figure
from etl.operations.openlineage import dataset_name
from etl.operations.prometheus import prometheus_text
from etl.runs import Run
from models.cli import train_in_group
from models.config import TrainConfig
from models.errors import ModelError
from models.model_dir import read_card
from scoring.config import PrerankConfig
from scoring.main import main
from scoring.terminal import lines_of, table_of, text_table

HOSTILE_NAMES = (
    "../../etc",
    "/etc",
    "events/../../x",
    "Events",
    "a b",
    "events'; DROP TABLE x",
    "`",
    "",
    "..",
    "\x00",
    "e" * 65,
)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_table_is_a_name_and_no_way_out_of_the_lake(name: str) -> None:
    with pytest.raises(UsageError, match="is no table's name"):
        Lake(None, "/lake").path(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", [["lineage", "../../x", "2026-01-01"], ["lineage", "events", "../2026-01-01"]])
def test_a_command_line_reaches_no_file_outside_the_lake(verb, monkeypatch, capsys) -> None:
    monkeypatch.setattr("etl.session.spark_session", lambda *_: None)
    assert main(verb) == 2
    assert "expected" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["name", "version"])
@pytest.mark.parametrize("value", ["../../x", "/x", ".hidden", "a/b", "a'; --", "", "a\n", 3, None])
def test_a_model_cards_name_and_version_are_plain_words(tmp_path, kind, value) -> None:
    plain = {"format_version": 1, "name": "two_tower", "version": "v1"} | {kind: value}
    (tmp_path / "model.json").write_text(json.dumps(plain))
    with pytest.raises(ModelError, match="cannot be a folder's name"):
        read_card(tmp_path)


@pytest.mark.parametrize("path", ["../other/rows.parquet", "/etc/passwd", "rows/../../x.parquet"])
def test_a_manifest_names_no_file_outside_its_export(tmp_path, path) -> None:
    plain = {"format_version": FORMAT_VERSION, "heads": [], "shards": [{"path": path, "split": "train", "rows": 1}]}
    (tmp_path / "manifest.json").write_text(json.dumps(plain))
    with pytest.raises(ManifestError, match="lies outside the export"):
        read_manifest(tmp_path)


def test_a_model_name_that_is_a_path_removes_nothing(tmp_path) -> None:
    """--fresh removes what an interrupted run has left beside the model's folder."""
    kept = tmp_path / "x.checkpoint"
    kept.write_text("somebody's")
    with pytest.raises(UnknownNameError, match="unknown trainable model"):
        train_in_group(TrainConfig(), "../x", tmp_path / "data", tmp_path / "models" / ".." / "x", fresh=True)
    assert kept.read_text() == "somebody's"


NAMES = ("country'; DROP TABLE x", "a`b", 'a"b', "a.b", "a b", "Ü", "", "__all", "a" * 65)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["events.segments", "events.actions"])
def test_names_that_become_columns_are_refused_unless_plain(name, key) -> None:
    with pytest.raises(UsageError, match="lower-case letters, digits and _"):
        load(PrerankConfig, None, {}, [f"{key}={json.dumps([name])}"])


SECRET = "hunter2-of-the-test"
SECRET_KEY = "spark.conf.spark.hadoop.fs.s3a.secret.key"


def test_a_secret_of_the_configuration_is_in_no_output(monkeypatch, capsys) -> None:
    """Neither shown, nor in an error that repeats it, nor in a traceback."""
    monkeypatch.setenv("SERVICE_TOKEN", "of-the-environment")
    common = ["--set", f"{SECRET_KEY}={SECRET}", "--set", "lake.root=s3a://AKIA:of-the-uri@bucket/lake"]
    assert main(["show-config", *common]) == 0

    def fail(*_: Any) -> None:
        raise ValueError(f"java.io.IOException: {SECRET} of-the-environment s3a://AKIA:of-the-uri@bucket refused")

    monkeypatch.setattr("etl.session.spark_session", fail)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    for flags in ([], ["--debug"]):
        try:
            main(["plan", "--ds", "2026-01-01", *common, *flags])
        except ValueError as error:
            sys.excepthook(type(error), error, error.__traceback__)
    out, err = capsys.readouterr()
    assert "fs.s3a.secret.key" in out
    assert "unexpected ValueError" in err
    assert "Traceback" in err
    for secret in (SECRET, "of-the-environment", "of-the-uri"):
        assert secret not in out + err


@pytest.mark.parametrize("value", ["[hunter2", "{hunter2", "!!x hunter2", "2026-13-45", '"\\ud800"'])
def test_a_secret_that_cannot_be_read_is_not_repeated(value, capsys) -> None:
    assert main(["show-config", "--set", f"{SECRET_KEY}={value}"]) == 2
    assert "hunter2" not in capsys.readouterr().err


def test_runs_record_what_failed_without_secrets_and_in_one_line() -> None:
    masks = Masks({"fs.secret.key": SECRET})
    error = GateError("events", [f"one ({SECRET})", "two\nprerank: fine"], "docs")
    said = masks(first_line(error))
    assert (
        said
        == f"quality gate of 'events' failed, nothing was published: - one ({HIDDEN}) - two prerank: fine details: docs"
    )
    run = Run("ingest", "hash", source="ftp://me:hunter2@host/log")
    assert run.failed("events", None, said).inputs == [f"ftp://{HIDDEN}@host/log"]


def test_lineage_events_name_datasets_without_passwords() -> None:
    assert dataset_name("s3a://AKIAIOSFODNN7EXAMPLE:a/b+c@bucket/lake/events") == ("s3://bucket", "lake/events")
    assert dataset_name("ftp://me:hunter2@host/x") == ("ftp://host", "x")


ANSI = "\x1b[31mred\x1b[0m\x9b2J\nprerank: fine"


def test_tables_and_lines_show_control_characters_and_take_no_markup() -> None:
    rows = [["name", "[bold]x"], [ANSI, r"\[bold]y[/bold]"]]
    shown = [text_table(rows), table_of([{"id": ANSI, "n": 1}], ""), lines_of({"a": ANSI, "b": [ANSI]})]
    for text in shown:
        assert "\x1b" not in text
        assert r"\x1b[31mred\x1b[0m\x9b2J\nprerank: fine" in text
    assert "[bold]x" in shown[0]
    assert r"\[bold]y[/bold]" in shown[0]


def test_prometheus_labels_cannot_begin_a_line_or_a_label() -> None:
    text = prometheus_text([Figure("2026-01-01", ROWS, 'x"} 1\nprerank_rows{part="y\\', 1.0)])
    assert text.splitlines()[-1] == r'prerank_rows{part="x\"} 1\nprerank_rows{part=\"y\\"} 1.0'
