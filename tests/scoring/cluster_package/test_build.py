"""The package as a folder, and the command lines in it."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from etl.contract.errors import UsageError
from etl.session import DELTA_PACKAGE
from scoring.cluster_package import build
from scoring.cluster_package.build import MANIFEST, build_package
from scoring.cluster_package.kinds import NONE
from scoring.cluster_package.submit import CODE, FILE, SCRIPT, Packaged, submit_text
from scoring.errors import PackageError
from scoring.main import main

LINES = 4
FROM_ZIP = """
import sys
sys.path[0] = sys.argv[1]
import scoring.report
from scoring import main
print(main.__file__)
main.main(["--help"])
"""


def test_hosts_with_packages_of_their_own_are_sent_the_code_alone(tmp_path: Path):
    out = tmp_path / "package"
    report = build_package(out, NONE, "python3.11", with_jars=False)
    assert set(report.files) == {FILE, CODE, SCRIPT, f"prerank-{report.version}-py3-none-any.whl"}
    assert report.packages == {}
    assert json.loads((out / MANIFEST).read_text())["version"] == report.version
    text = (out / FILE).read_text()
    assert text.count(f'--py-files "$PACKAGE/{CODE}"') == LINES
    assert text.count(f"--packages {DELTA_PACKAGE}") == LINES
    assert "spark.pyspark.python" not in text


def test_the_code_runs_out_of_its_zip(tmp_path: Path):
    build_package(tmp_path / "package", NONE, "python3.11", with_jars=False)
    words = [sys.executable, "-c", FROM_ZIP, str(tmp_path / "package" / CODE)]
    done = subprocess.run(words, env={"PATH": "/usr/bin"}, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(str(tmp_path / "package" / CODE)), done.stderr
    assert "show-config" in done.stdout


def test_environment_and_jars_stand_in_every_line():
    text = submit_text(Packaged("/some where/package", has_environment=True, has_jars=True, delta=DELTA_PACKAGE))
    assert "PACKAGE='/some where/package'" in text
    assert text.count('--jars "${JARS%,}"') == LINES
    assert text.count("--archives") == LINES - 1
    assert text.count("--conf spark.pyspark.python=") == LINES
    assert "--packages" not in text


@pytest.mark.parametrize(("environment", "jars"), [(True, True), (True, False), (False, True), (False, False)])
def test_every_line_is_shell(environment: bool, jars: bool, tmp_path: Path):
    text = submit_text(Packaged(str(tmp_path), environment, jars, DELTA_PACKAGE))
    for block in text.split("```bash\n")[1:]:
        subprocess.run(["bash", "-n", "-c", block.split("```")[0]], check=True)


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not replaced"):
        build_package(tmp_path, NONE, "python3.11", with_jars=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_jars_that_were_never_fetched_are_an_error(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(build, "fetched_jars", list)
    with pytest.raises(PackageError, match="are not in Spark's cache"):
        build_package(tmp_path / "package", NONE, "python3.11", with_jars=True)
    assert not (tmp_path / "package").exists()


def test_the_command_says_where_the_lines_are(tmp_path: Path, capsys):
    assert main(["package", "--out", str(tmp_path / "p"), "--environment", "none"]) == 0
    assert f"the command lines are in {tmp_path / 'p'}/{FILE}" in capsys.readouterr().out
    assert zipfile.is_zipfile(tmp_path / "p" / CODE)


def test_a_package_is_written_to_this_machine(capsys):
    assert main(["package", "--out", "s3a://bucket/p"]) == 2
    assert "'s3a://bucket/p' is a URI, expected a path on this machine" in capsys.readouterr().err
