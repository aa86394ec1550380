"""What no code here may do: run what a file holds, build SQL from values, leave its folders, show a secret."""

import ast
import json
import re
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
from tests.test_architecture import FILES, chain, found

#: Modules whose reading runs code, and the one name of them that says what has gone wrong.
UNSAFE_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "jsonpickle",
    "pandas.io.pickle",
}
HARMLESS = {("pickle", "UnpicklingError")}
#: Builds objects or runs code by its nature.
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "system", "popen", "read_pickle", "to_pickle", "literal_load"}
#: The one file that opens programs, after it has looked into them; the one that reads YAML, as plain values.
PROGRAM_OPENER, YAML_READER = "scoring/serving/program_files.py", "etl/contract/yaml_text.py"
#: Spark's functions that take SQL text. ``where`` and ``filter`` take text or a Column.
SQL = {"sql", "expr", "selectExpr", "where", "filter", "createOrReplaceTempView"}
#: The one writer: paths quoted, days checked, values only where they are plain words (see its tests).
WRITER = "etl/write.py"


def unsafe_import(node: ast.AST) -> str | None:
    if isinstance(node, ast.Import):
        return next((alias.name for alias in node.names if alias.name in UNSAFE_MODULES), None)
    if isinstance(node, ast.ImportFrom) and node.module in UNSAFE_MODULES:
        return next((f"{node.module}.{a.name}" for a in node.names if (node.module, a.name) not in HARMLESS), None)
    return None


def is_method(node: ast.Call) -> bool:
    """Of an object, such as ``model.eval()``; ``os.system()`` is none."""
    return isinstance(node.func, ast.Attribute) and chain(node.func)[:1] != ["os"]


def unsafe_call(node: ast.AST) -> str | None:
    if not isinstance(node, ast.Call) or not (names := chain(node.func)):
        return None
    given = {word.arg: word.value for word in node.keywords}
    if names[-1] in UNSAFE_CALLS and not (names[-1] in {"eval", "compile"} and is_method(node)):
        return ".".join(names)
    if names == ["torch", "load"] and not is_constant(given.get("weights_only"), True):
        return "torch.load without weights_only=True"
    if names[0] in ("np", "numpy") and names[-1] == "load" and not is_constant(given.get("allow_pickle"), False):
        return "numpy.load without allow_pickle=False"
    if "shell" in given and not is_constant(given["shell"], False):
        return "a shell"
    return "jit.load" if names[-2:] == ["jit", "load"] or names[-2:] == ["hub", "load"] else None


def is_constant(node: ast.AST | None, value: Any) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_nothing_is_read_in_a_way_that_runs_it() -> None:
    assert found(unsafe_import) == []
    assert found(unsafe_call) == []


def test_programs_are_opened_in_one_place() -> None:
    def opens(node: ast.AST) -> str | None:
        return (
            "torch.export.load" if isinstance(node, ast.Call) and chain(node.func)[-2:] == ["export", "load"] else None
        )

    assert found(opens, skip=(PROGRAM_OPENER,)) == []
    assert len([node for node in ast.walk(FILES[PROGRAM_OPENER]) if opens(node)]) == 1


def test_yaml_is_read_in_one_place_and_safely() -> None:
    def uses(node: ast.AST) -> str | None:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        return "yaml" if "yaml" in names or (isinstance(node, ast.ImportFrom) and node.module == "yaml") else None

    assert found(uses, skip=(YAML_READER,)) == []
    text = ast.unparse(FILES[YAML_READER])
    assert "SafeLoader(" in text
    assert not re.search(r"yaml\.(load|full_load|unsafe_load|Loader|UnsafeLoader|FullLoader)\b", text)


def built_sql(node: ast.AST) -> str | None:
    """A call that takes SQL, with a text that is put together from others."""
    names = chain(node.func) if isinstance(node, ast.Call) else []
    if not isinstance(node, ast.Call) or names[-1:] == [] or names[-1] not in SQL or not node.args:
        return None
    text = node.args[0]
    formatted = any(isinstance(part, ast.JoinedStr) for part in ast.walk(text))
    called = isinstance(text, ast.Call) and chain(text.func)[-1:] in (["format"], ["join"])
    added = isinstance(text, ast.BinOp) and any(isinstance(part, ast.Constant) for part in (text.left, text.right))
    return f"{names[-1]}({ast.unparse(node.args[0])})" if formatted or called or added else None


def test_no_sql_is_built_from_values() -> None:
    assert found(built_sql, skip=(WRITER,)) == []


def test_column_names_in_texts_are_quoted() -> None:
    """F.col takes dots and backticks for syntax: a name that is put together has to go through ``quoted``."""

    def unquoted(node: ast.AST) -> str | None:
        if (
            not isinstance(node, ast.Call)
            or chain(node.func) != ["F", "col"]
            or not isinstance(node.args[0], ast.JoinedStr)
        ):
            return None
        values = [part.value for part in node.args[0].values if isinstance(part, ast.FormattedValue)]
        safe = all(isinstance(v, ast.Name) or (isinstance(v, ast.Call) and chain(v.func) == ["quoted"]) for v in values)
        return None if safe and "`" not in ast.unparse(node) else ast.unparse(node)

    assert found(unquoted) == []


def test_nothing_writes_csv_or_spreadsheets_which_would_run_formulas() -> None:
    def writes(node: ast.AST) -> str | None:
        names = chain(node.func) if isinstance(node, ast.Call) else []
        wrong = {"to_csv", "to_excel", "DictWriter", "write_csv", "xlsxwriter"} & set(names)
        return ".".join(names) if wrong or names == ["csv", "writer"] or names[-2:] == ["write", "csv"] else None

    assert found(writes) == []


def test_the_report_escapes_and_trusts_drawings_only() -> None:
    """Markup() and the filter ``safe`` switch escaping off: figures need it, and matplotlib escapes their texts."""
    trusting = found(lambda node: "Markup" if isinstance(node, ast.Call) and chain(node.func) == ["Markup"] else None)
    assert [line.split(":")[0] for line in trusting] == ["scoring/ladder.py", "scoring/report.py"]
    assert found(no_autoescape) == []
    from importlib.resources import files

    template = files("scoring").joinpath("report.html.j2").read_text(encoding="utf-8")
    assert not re.search(r"\|\s*safe\b|autoescape", template)


def no_autoescape(node: ast.AST) -> str | None:
    if not isinstance(node, ast.Call) or chain(node.func) != ["Environment"]:
        return None
    given = {word.arg: word.value for word in node.keywords}
    return None if is_constant(given.get("autoescape"), True) else "Environment without autoescape=True"


@pytest.mark.parametrize(
    ("code", "check"),
    [
        ("import pickle", unsafe_import),
        ("from joblib import load", unsafe_import),
        ("torch.load(path)", unsafe_call),
        ("np.load(path, mmap_mode='r')", unsafe_call),
        ("subprocess.run(words, shell=True)", unsafe_call),
        ("eval(text)", unsafe_call),
        ("os.system(line)", unsafe_call),
        ("frame.where(f\"ds = '{ds}'\")", built_sql),
        ("F.expr('a = ' + value)", built_sql),
        ("spark.sql('SELECT {}'.format(name))", built_sql),
    ],
)
def test_the_checks_find_what_they_are_for(code, check) -> None:
    assert any(check(node) for node in ast.walk(ast.parse(code)))


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
