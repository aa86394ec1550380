"""An environment that runs wherever it is unpacked."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from scoring.cluster_package.distributions import required
from scoring.cluster_package.environment import ARCHIVE, write_environment

BASE = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")
OWN = {"mine/__init__.py": b"import yaml\nsaid = yaml.safe_load('[1, 2]')\n", "mine/run.sh": b"#!/bin/sh\n"}


@pytest.fixture
def yaml():
    return [found for found in required(()) if found.metadata["Name"].lower() == "pyyaml"]


def unpacked(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    words = [folder / "bin" / "python", "-c", code]
    return subprocess.run(words, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False, cwd="/")


def test_packages_are_imported_from_wherever_it_lies(tmp_path: Path, yaml):
    write_environment(tmp_path / ARCHIVE, OWN, yaml, BASE)
    folder = unpacked(tmp_path / ARCHIVE, tmp_path / "some where")
    moved = folder.rename(tmp_path / "else where")
    done = run(moved, "import mine; print(mine.said, mine.yaml.__file__)")
    assert done.stdout.split()[:2] == ["[1,", "2]"], done.stderr
    assert str(moved / "lib") in done.stdout


def test_scripts_can_be_run(tmp_path: Path, yaml):
    write_environment(tmp_path / ARCHIVE, OWN, yaml, BASE)
    assert (unpacked(tmp_path / ARCHIVE, tmp_path / "here") / "lib/mine/run.sh").stat().st_mode & 0o100


def test_a_host_without_the_python_says_so(tmp_path: Path):
    write_environment(tmp_path / ARCHIVE, OWN, [], "python2.7")
    done = run(unpacked(tmp_path / ARCHIVE, tmp_path / "here"), "pass")
    assert done.returncode == 127
    assert "has no python2.7; install it, or name another: prerank package --python" in done.stderr


def test_a_python_may_have_any_name(tmp_path: Path, yaml):
    odd = tmp_path / "a b; touch $HOME $(x) 'c'" / "python"
    odd.parent.mkdir()
    odd.symlink_to(BASE)
    write_environment(tmp_path / ARCHIVE, OWN, yaml, str(odd))
    done = run(unpacked(tmp_path / ARCHIVE, tmp_path / "here"), "import mine; print(mine.said)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[1, 2]\n", "")


def test_the_same_files_make_the_same_archive(tmp_path: Path, yaml):
    sizes = [write_environment(tmp_path / name, OWN, yaml, BASE) for name in ("a", "b")]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sizes[0] == sizes[1] > sum(map(len, OWN.values()))
