"""The program's front door: what it accepts, how it refuses."""

import json
import subprocess
import sys

import pytest

from etl.contract.errors import UnknownNameError, UsageError
from scoring.cli import render
from scoring.main import _explain, main, parse


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (["ingst", "--ds", "2026-01-01"], "ingest"),
        (["ingest", "--sorce", "csv"], "--source"),
        (["score", "--modl", "x", "--ds", "2026-01-01"], "--model"),
        (["show-config", "--jsn"], "--json"),
    ],
)
def test_unknown_words_name_the_nearest_valid_one(words, nearest):
    with pytest.raises(UnknownNameError, match=f"did you mean '{nearest}'"):
        parse(words)


def test_flags_are_not_abbreviated():
    with pytest.raises(UnknownNameError):
        parse(["interactions", "--start", "2026-01-01", "--end-ds", "2026-01-02"])


def test_common_options_may_stand_before_the_verb():
    args = parse(["--json", "--set", "lake.root=/x", "--config", "a.yaml", "plan", "--ds", "2026-01-01"])
    assert (args.verb, args.json, args.set, str(args.config)) == ("plan", True, ["lake.root=/x"], "a.yaml")
    with pytest.raises(UnknownNameError, match="--jsn"):
        parse(["--jsn", "plan", "--ds", "2026-01-01"])


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--set"],
        ["--set", "lake.root=/x"],
        ["--json"],
        ["export", "--ds", "2026-01-01"],
        ["ingest", "--source", "xml"],
    ],
)
def test_incomplete_command_lines_are_usage_errors(words):
    with pytest.raises(UsageError):
        parse(words)


@pytest.mark.parametrize(
    "words",
    [
        ["interactions", "--ds", "{{ ds }}"],
        ["interactions", "--ds", "2026-02-30"],
        ["interactions", "--start-ds", "2026-01-02", "--end-ds", "2026-01-01"],
        ["show-config", "--set", "lake.rot=/x"],
        ["show-config", "--set", "interactions.lag_days=-1"],
        ["show-config", "--config", "/no/such/file.yaml"],
    ],
)
def test_bad_values_exit_with_2_and_one_line(words, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("prerank: ")
    assert len(err.strip().splitlines()) == 1


def test_json_is_one_object_on_stdout(capsys):
    assert main(["show-config", "--json"]) == 0
    assert {"key": "events.max_query_chars", "value": 512, "origin": "default"} in json.loads(capsys.readouterr().out)[
        "values"
    ]


def test_an_export_shows_the_features_that_drifted_most():
    drift = {f"f{number:02d}": number / 100 for number in range(20)}
    lines = render("export", {"out": "data", "drift": drift, "drift_unmatched": ["old"]}).splitlines()
    at = lines.index("drift")
    assert lines[at + 1 : at + 11] == [f"  f{number}  PSI {number / 100:.4f}" for number in range(19, 9, -1)]
    assert lines[at + 11 :] == ["drift_unmatched", "  old"]


def test_help_imports_nothing_heavy():
    heavy = "{'pyspark', 'torch', 'pandas', 'great_expectations', 'pyarrow', 'numpy'}"
    code = (
        "import sys; from scoring.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.strip() == ""
    assert done.returncode == 0
    assert "simulate" in done.stdout


CALL = "An error occurred while calling o1.count."
TRACE = "Traceback (most recent call last):"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("no space left", "no space left"),
        ("", "no message"),
        (f"{CALL}\n: java.lang.Error: of the call\n\tat x", "java.lang.Error: of the call"),
        (f"{CALL}\n: a.B: job\nCaused by: a.C: task\nCaused by: a.D: disk full\n\tat x", "a.D: disk full"),
        (f"{CALL}\n: a.PythonException: {TRACE}\n  File x\nValueError: not finite\n\n\tat x", "ValueError: not finite"),
    ],
)
def test_an_unexpected_error_shows_what_caused_it_first(message, shown, capsys):
    _explain(RuntimeError, RuntimeError(message), None)
    assert capsys.readouterr().err.splitlines()[0] == f"prerank: unexpected RuntimeError: {shown}"
