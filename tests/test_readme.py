"""The README's commands, run as they stand there."""

import re
import shlex
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from scoring.main import parse, run

README = Path(__file__).parents[1] / "README.md"


def shell_commands(text: str) -> list[list[str]]:
    """The words of every prerank line in the README's sh blocks, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("prerank ")]


COMMANDS = shell_commands(README.read_text(encoding="utf-8"))


def test_every_verb_but_the_demo_is_shown():
    shown = {words[0] for words in COMMANDS}
    assert shown == {
        "simulate", "ingest", "interactions", "check", "plan", "backfill", "export", "train", "evaluate", "ablate",
        "score", "report", "show-config", "forget", "promote", "models", "candidates", "export-serving", "embed",
        "runs", "lineage", "monitor", "maintain",
    }  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command_parses(words):
    assert parse(words).verb == words[0]


@pytest.mark.spark
@pytest.mark.slow
def test_commands_run_one_after_the_other(spark: SparkSession, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words in COMMANDS:
        assert run(words) == 0, words
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert "interactrank" in capsys.readouterr().out
