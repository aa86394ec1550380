import subprocess
from pathlib import Path

from models.code_version import code_version, source_digest


def git(root: Path, *words: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    done = subprocess.run(["git", "-C", str(root), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_checkout_names_its_commit_and_whether_it_was_changed(tmp_path: Path):
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-qm", "one")
    sha = git(tmp_path, "rev-parse", "HEAD")
    assert code_version(tmp_path.resolve())["git_sha"] == sha
    (tmp_path / "file").write_text("2")
    assert code_version(tmp_path.resolve())["git_sha"] == f"{sha}-dirty"


def test_a_copy_installed_inside_another_checkout_has_no_commit(tmp_path: Path):
    git(tmp_path, "init", "-q")
    (tmp_path / "site-packages").mkdir()
    assert code_version((tmp_path / "site-packages").resolve())["git_sha"] == ""


def test_a_changed_source_is_another_digest_and_a_copy_is_the_same(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.py").write_text("x = 1\n")
        (tmp_path / folder / "notes.txt").write_text(folder)
    first = source_digest(tmp_path / "a")
    assert source_digest(tmp_path / "b") == first
    (tmp_path / "b" / "one.py").write_text("x = 2\n")
    assert source_digest(tmp_path / "b") != first
    assert len(source_digest()) == 16
