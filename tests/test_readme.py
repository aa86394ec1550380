"""The README's commands, run as they stand there."""

import re
import shlex
from pathlib import Path

import pyspark
import pytest
from pyspark.sql import SparkSession

from etl.session import DELTA_PACKAGE
from scoring.cluster_package.submit import Packaged, submit_text
from scoring.main import parse, run

README = Path(__file__).parents[1] / "README.md"


def shell_commands(text: str) -> list[list[str]]:
    """The words of every prerank line in the README's sh blocks, in order."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("prerank ")]


def bash_blocks(text: str) -> list[list[str]]:
    """The words of each bash block."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    return [shlex.split(block.replace("\\\n", " ")) for block in blocks]


COMMANDS = shell_commands(README.read_text(encoding="utf-8"))


def test_every_verb_but_the_demo_is_shown():
    shown = {words[0] for words in COMMANDS}
    assert shown == {
        "simulate", "ingest", "interactions", "check", "plan", "backfill", "export", "train", "evaluate", "ablate",
        "score", "report", "show-config", "forget", "promote", "models", "candidates", "export-serving", "embed",
        "runs", "lineage", "monitor", "maintain", "package",
    }  # fmt: skip


def test_jars_are_of_the_versions_that_the_program_asks_for():
    text = README.read_text(encoding="utf-8")
    assert set(re.findall(r"io\.delta:[\w.:-]+\w", text)) == {DELTA_PACKAGE}
    [hadoop] = (Path(pyspark.__file__).parent / "jars").glob("hadoop-client-api-*.jar")
    version = hadoop.stem.removeprefix("hadoop-client-api-")
    assert set(re.findall(r"(?:hadoop-aws:|hadoop-client-api-)([\d.]+\d)", text)) == {version}


def test_the_line_for_a_standalone_cluster_is_that_of_a_package():
    package = Packaged("/path/to/package", has_environment=True, has_jars=False, delta=DELTA_PACKAGE)
    once, _, standalone, *_ = bash_blocks(submit_text(package))
    [shown] = [words for words in bash_blocks(README.read_text(encoding="utf-8")) if words[0].startswith("PACKAGE=")]
    assert shown == once + standalone


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
