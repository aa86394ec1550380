"""What no code here may do: run what a file holds, build SQL from values, write what a program would run."""

import ast
import re
from typing import Any

import pytest

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
