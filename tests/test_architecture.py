"""What holds the house up: the arrows between packages, the one writer, and what pure code may not call."""

import ast
import importlib
import importlib.metadata
import importlib.util
import inspect
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from etl.contract.dates import DateRange
from etl.contract.errors import PrerankError

ROOT = Path(__file__).parents[1]
PACKAGES = ("dags", "etl", "models", "scoring")
WRITER = "etl/write.py"
#: Versions and histories are read here, through the class that could also change a table.
READER = "etl/lake.py"
#: The time of day goes into run records only, through one function of this file.
CLOCK_OWNER = "etl/runs.py"
PRINTERS = ("/cli.py",)
#: What may be imported beside the standard library.
LIGHT = {"etl/contract/": {"etl", "yaml"}, "dags/": {"airflow", "dags", "pendulum"}}

CLOCK = {"now", "utcnow", "today", "current_timestamp", "current_date"}
CREATORS = {"saveAsTable", "insertInto", "writeTo"}
CHANGES = {"merge", "update", "delete", "optimize", "vacuum", "restoreToVersion", "restoreToTimestamp", "execute"}
STATEMENTS = ("insert into", "insert overwrite", "merge into", "delete from", "update ", "create or replace table")
RANDOM = {"rand", "randn", "uuid", "shuffle", "default_rng", "Random"}

FILES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def found(check: Any, *, skip: tuple[str, ...] = ()) -> list[str]:
    """Run a node check over every file: 'file:line what' for each node that it objects to."""
    return [
        f"{file}:{node.lineno} {complaint}"
        for file, tree in FILES.items()
        if not file.endswith(skip or ("/",))
        for node in ast.walk(tree)
        if (complaint := check(node))
    ]


def chain(node: ast.AST) -> list[str]:
    """The names of a chain of calls and attributes, outermost last: df.write.format('x') -> [df, write, format]."""
    names: list[str] = []
    while isinstance(node, ast.Call | ast.Attribute):
        if isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        else:
            node = node.func
    return [*([node.id] if isinstance(node, ast.Name) else []), *reversed(names)]


def test_imports_follow_the_arrows() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", LIGHT)
def test_light_packages_import_only_what_is_listed(folder: str) -> None:
    files = {file: tree for file, tree in FILES.items() if file.startswith(folder)}
    known = LIGHT[folder] | {Path(file).stem for file in files} | sys.stdlib_module_names
    strangers = [
        f"{file} {module}"
        for file, tree in files.items()
        for module in imported(tree)
        if module.split(".")[0] not in known or (module.startswith("etl") and not module.startswith("etl.contract"))
    ]
    assert strangers == []


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def writes_delta(node: ast.AST) -> str | None:
    names = chain(node)
    if names[-1:] and (names[-1] in CREATORS or ("DeltaTable" in names and CHANGES & set(names))):
        return ".".join(names)
    if not isinstance(node, ast.Call):
        return None
    if names[-1:] == ["format"] and {"write", "writeStream"} & set(names):
        formats = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        # A format that is not spelled out may be Delta.
        return None if formats and formats != ["delta"] else "write.format"
    if names[-1:] == ["sql"] and node.args:
        text = " ".join(ast.unparse(node.args[0]).lower().split())
        return next((statement for statement in STATEMENTS if statement in text), None)
    return None


def names_delta_table(node: ast.AST) -> str | None:
    by_name = isinstance(node, ast.Name) and node.id == "DeltaTable"
    by_text = isinstance(node, ast.Constant) and node.value == "io.delta.tables.DeltaTable"
    return "DeltaTable" if by_name or by_text else None


def test_one_file_writes_delta() -> None:
    assert found(writes_delta, skip=(WRITER,)) == []
    assert found(names_delta_table, skip=(WRITER, READER)) == []


def reads_the_clock(node: ast.AST) -> str | None:
    names = chain(node.func) if isinstance(node, ast.Call) else []
    return ".".join(names) if len(names) > 1 and names[-1] in CLOCK else None


def test_today_is_always_an_argument() -> None:
    assert found(reads_the_clock, skip=(CLOCK_OWNER,)) == []
    assert len([node for node in ast.walk(FILES[CLOCK_OWNER]) if reads_the_clock(node)]) == 1


def walks_to_a_java_class(node: ast.AST) -> str | None:
    """What is asked of the JVM package by package, instead of by ``java_class``."""
    return "._jvm" if isinstance(node, ast.Attribute) and node.attr == "_jvm" else None


def test_java_classes_are_asked_for_by_their_full_names() -> None:
    assert found(walks_to_a_java_class, skip=("etl/jvm.py", "etl/session.py")) == []


def test_no_table_is_pulled_into_the_driver_as_pandas() -> None:
    assert found(lambda node: "toPandas" if isinstance(node, ast.Attribute) and node.attr == "toPandas" else None) == []


def unseeded(node: ast.AST) -> str | None:
    is_call = isinstance(node, ast.Call) and not node.args and not node.keywords
    names = chain(node) if is_call else []
    return ".".join(names) if names[-1:] and names[-1] in RANDOM else None


def test_randomness_has_a_seed() -> None:
    assert found(unseeded) == []


def catches_everything(node: ast.AST) -> str | None:
    if not isinstance(node, ast.ExceptHandler):
        return None
    caught = [] if node.type is None else [chain(name)[-1:] for name in getattr(node.type, "elts", [node.type])]
    reraises = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
    broad = not caught or ["Exception"] in caught or ["BaseException"] in caught
    return "broad except" if broad and not reraises else None


def test_nothing_catches_everything() -> None:
    assert found(catches_everything) == []


def test_only_the_command_line_prints() -> None:
    def prints(node: ast.AST) -> str | None:
        return "print" if isinstance(node, ast.Call) and chain(node.func) == ["print"] else None

    assert found(prints, skip=PRINTERS) == []


def error_types() -> list[type[PrerankError]]:
    """Every PrerankError of the three packages; only files that define an error are imported."""
    for file, tree in FILES.items():
        classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        bases = {chain(base)[-1] for node in classes for base in node.bases if chain(base)}
        if not file.startswith("dags/") and any(base.endswith("Error") for base in bases):
            importlib.import_module(file.removesuffix(".py").replace("/", ".").removesuffix(".__init__"))
    known: dict[str, type[PrerankError]] = {}
    waiting: list[type[PrerankError]] = [PrerankError]
    while waiting:
        kind = waiting.pop()
        known[f"{kind.__module__}.{kind.__qualname__}"] = kind
        waiting.extend(kind.__subclasses__())
    return [known[name] for name in sorted(known) if name.split(".")[0] in PACKAGES]


SAMPLES: dict[str, Any] = {
    "str": "text",
    "object": "text",
    "bool": True,
    "int": 3,
    "float": 0.5,
    "Path": Path("some/where"),
    "DateRange": DateRange("2026-02-28", "2026-03-01"),
    "Iterable": ["some", "names"],
    "Sequence": ["some", "names"],
    "list": ["some", "names"],
    "tuple": ("some", "names"),
    "dict": {"some": 1},
    "Mapping": {"some": 1},
}


def sample(parameter: inspect.Parameter) -> Any:
    """An argument by the annotation's first word."""
    word = re.split(r"[^A-Za-z]+", inspect.formatannotation(parameter.annotation).split(".")[-1])[0]
    return SAMPLES[word]


@pytest.mark.parametrize("kind", error_types(), ids=lambda kind: kind.__name__)
def test_errors_survive_the_way_from_a_worker(kind: type[PrerankError]) -> None:
    """Spark and multiprocessing send exceptions as pickles."""
    constructor = inspect.signature(kind.__init__)
    names = [parameter for name, parameter in constructor.parameters.items() if name != "self"]
    takes_a_message = all(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in names[:1])
    error = kind("a message") if takes_a_message else kind(*(sample(parameter) for parameter in names))
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (kind, str(error), vars(error))
    assert kind.exit_code in {1, 2, 3}


def test_benchmarks_import_what_is_there():
    """They run by hand only: a name that was moved must not wait until then."""
    missing = [
        f"{path.name}: {node.module}.{alias.name}"
        for path in sorted((ROOT / "tests" / "benchmarks").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES
        for alias in node.names
        if not hasattr(importlib.import_module(node.module), alias.name)
        and importlib.util.find_spec(f"{node.module}.{alias.name}") is None
    ]
    assert missing == []


def test_nothing_beside_the_program_hides_a_library():
    """spark-submit puts the program's own folder first on the path: a module there would be imported in its place."""
    own = {path.stem for path in (ROOT / "scoring").iterdir() if path.suffix in ("", ".py")}
    libraries = set(importlib.metadata.packages_distributions()) | set(sys.stdlib_module_names)
    assert own & libraries - {"__init__", "__pycache__"} == set()
