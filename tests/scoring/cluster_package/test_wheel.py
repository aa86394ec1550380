"""The program's wheel: what setuptools would put there, made without it."""

import csv
import shutil
import subprocess
import sys
import zipfile
from io import StringIO
from pathlib import Path

from scoring.cluster_package.distributions import project
from scoring.cluster_package.wheel import PACKAGES, wheel_files, wheel_name, write_zip

ROOT = Path(__file__).parents[3]
BUILD = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"


def test_the_wheel_holds_what_setuptools_would_put_there(tmp_path: Path):
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, "dist"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    theirs = zipfile.ZipFile(tmp_path / "dist" / done.stdout.split()[-1]).namelist()
    ours = wheel_files(project())
    assert done.stdout.split()[-1] == wheel_name(project())
    assert {name for name in ours if ".dist-info/" not in name} == {n for n in theirs if ".dist-info/" not in n}


def test_the_same_sources_make_the_same_bytes(tmp_path: Path):
    files = wheel_files(project())
    for name in ("a.whl", "b.whl"):
        write_zip(tmp_path / name, files)
    assert (tmp_path / "a.whl").read_bytes() == (tmp_path / "b.whl").read_bytes()


def test_the_record_lists_every_file(tmp_path: Path):
    files = wheel_files(project())
    [record] = [name for name in files if name.endswith("/RECORD")]
    rows = list(csv.reader(StringIO(files[record].decode())))
    assert [row[0] for row in rows] == list(files)
    assert {row[0]: row[2] for row in rows if row[2]} == {k: str(len(v)) for k, v in files.items() if k != record}


def test_pip_installs_it_and_the_data_files_come_along(tmp_path: Path):
    wheel = tmp_path / wheel_name(project())
    write_zip(wheel, wheel_files(project()))
    there = tmp_path / "there"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(there),
        str(wheel),
    ]
    subprocess.run(pip, check=True)
    for name in (
        "scoring/report.html.j2",
        "etl/log4j2.properties",
        "scoring/gpu_discovery.sh",
        "dags/prerank_scoring.py",
    ):
        assert (there / name).stat().st_size > 0
    assert (there / "bin" / "prerank").exists()
