import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from etl.contract.errors import UsageError
from etl.contract.publish import published_directory, write_text


def test_a_directory_appears_only_when_it_is_finished(tmp_path):
    target = tmp_path / "deep" / "out"
    with published_directory(target, "old") as aside:
        (aside / "a").write_text("1")
        assert not target.exists()
        assert aside.parent == target.parent
    assert (target / "a").read_text() == "1"
    assert [path.name for path in target.parent.iterdir()] == ["out"]


def test_the_new_directory_replaces_the_old_one_whole(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("1")
    with published_directory(target, "old") as aside:
        (aside / "new").write_text("2")
    assert [path.name for path in target.iterdir()] == ["new"]


def test_a_failure_leaves_the_old_directory_and_nothing_else(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "old").write_text("1")

    def fail_halfway() -> None:
        with published_directory(target, "old") as aside:
            (aside / "new").write_text("2")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail_halfway()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]


@pytest.mark.faults
def test_a_rename_that_fails_puts_the_old_directory_back(tmp_path, monkeypatch):
    target, rename = tmp_path / "out", os.rename
    target.mkdir()
    (target / "old").write_text("1")

    def failing(source: Path, destination: Path) -> None:
        if str(source).endswith(".tmp"):
            raise OSError("no")
        rename(source, destination)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="no"), published_directory(target, "old"):
        pass
    assert (target / "old").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(UsageError, match=r"holds files but no manifest\.json"),
        published_directory(tmp_path, "manifest.json"),
    ):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("text", "replaced"), [('{"nodes": []}', False), ('{"shards": []}', True), ('{"shards": [', True), ("[1]", True)]
)
def test_a_folder_is_ours_by_a_key_of_its_marker_unless_that_is_damaged(tmp_path, text, replaced):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "m.json").write_text(text)
    if replaced:
        with published_directory(tmp_path / "out", "m.json", "shards"):
            pass
    else:
        with (
            pytest.raises(UsageError, match=r"no m\.json with 'shards'"),
            published_directory(tmp_path / "out", "m.json", "shards"),
        ):
            pass
    assert [path.name for path in (tmp_path / "out").iterdir()] == ([] if replaced else ["m.json"])


@pytest.mark.faults
def test_a_swap_that_was_killed_between_its_two_renames_is_undone(tmp_path):
    old = tmp_path / ".out.0123abcd.old"
    old.mkdir()
    (old / "old").write_text("1")
    with published_directory(tmp_path / "out", "old") as aside:
        assert (tmp_path / "out" / "old").read_text() == "1"
        (aside / "old").write_text("2")
    assert (tmp_path / "out" / "old").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.faults
def test_a_killed_writer_that_nobody_waited_for_is_dead_too(tmp_path):
    script = (
        "import pathlib, time; from etl.contract import publish\n"
        f"with publish.published_file(pathlib.Path({str(tmp_path / 'file')!r})) as aside:\n"
        "    aside.write_text('1')\n    print(flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline()
        writer.kill()
        os.waitid(os.P_PID, writer.pid, os.WEXITED | os.WNOWAIT)
        write_text(tmp_path / "file", "2")
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.faults
def test_what_a_killed_writer_left_beside_its_target_is_taken_away(tmp_path):
    for kind in ("out", "file.json"):
        script = (
            "import os, pathlib, signal; from etl.contract import publish\n"
            f"with publish.{'published_file' if '.' in kind else 'published_directory'}"
            f"(pathlib.Path({str(tmp_path / kind)!r}){'' if '.' in kind else ', chr(109)'}) as aside:\n"
            "    (aside / 'half' if aside.is_dir() else aside).write_text('1')\n"
            "    os.kill(os.getpid(), signal.SIGKILL)"
        )
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    other = tmp_path / f".out.elsewhere-{os.getpid()}-01234567.tmp"
    other.mkdir()
    assert len(list(tmp_path.iterdir())) == 3
    # One that is still writing is left alone.
    with published_directory(tmp_path / "out", "m") as running, published_directory(tmp_path / "out", "m"):
        assert running.is_dir()
    write_text(tmp_path / "file.json", "{}")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "file.json", other.name}


def test_a_small_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "one")
    write_text(path, "\u00e4")
    assert path.read_text(encoding="utf-8") == "\u00e4"
    assert list(path.parent.iterdir()) == [path]


def test_a_small_file_that_cannot_be_written_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_text(path, "one")

    def failing(source: Path, destination: Path) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="no"):
        write_text(path, "two")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]
