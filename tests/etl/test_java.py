"""The search for a Java, against shell scripts that answer as one."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from etl.java import JavaError, fetch_java, find_java, main, parse_java

ANSWER = """Property settings:
    java.class.version = 61.0
    java.home = {home}
    java.vendor = Debian
    java.version = {version}
    java.version.date = 2025-04-15

openjdk version "{version}" 2025-04-15
"""


def fake_java(home: Path, version: str) -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{ANSWER.format(home=home, version=version)}END\n")
    program.chmod(0o755)
    return program


def environment(java_home: Path | None, on_path: Path | None) -> dict[str, str]:
    env = {"PATH": str(on_path / "bin") if on_path else "/nowhere"}
    return env if java_home is None else env | {"JAVA_HOME": str(java_home)}


@pytest.mark.parametrize(
    ("version", "major", "usable"),
    [
        ("1.8.0_392", 8, False),
        ("11.0.22", 11, False),
        ("17", 17, True),
        ("17.0.15", 17, True),
        ("21.0.2", 21, True),
        ("22-ea", 22, True),
        ("23.0.1", 23, False),
        ("25", 25, False),
    ],
)
def test_version_decides_whether_a_java_is_usable(version: str, major: int, usable: bool) -> None:
    java = parse_java(ANSWER.format(home="/opt/my java", version=version))
    assert java is not None
    assert (java.home, java.version, java.major, java.usable) == ("/opt/my java", version, major, usable)


@pytest.mark.parametrize("text", ["", "The operation couldn't be completed. Unable to locate a Java Runtime.\n"])
def test_other_output_is_no_java(text: str) -> None:
    assert parse_java(text) is None


def test_java_home_comes_before_path(tmp_path: Path) -> None:
    fake_java(tmp_path / "home", "21.0.2")
    fake_java(tmp_path / "path", "17.0.15")
    assert find_java(environment(tmp_path / "home", tmp_path / "path"), tmp_path / "note") == str(tmp_path / "home")


@pytest.mark.parametrize("version", ["11.0.22", "25.0.1"])
def test_unusable_java_home_gives_way_to_path(tmp_path: Path, version: str) -> None:
    fake_java(tmp_path / "home", version)
    fake_java(tmp_path / "path", "17.0.15")
    assert find_java(environment(tmp_path / "home", tmp_path / "path"), tmp_path / "note") == str(tmp_path / "path")


def test_an_earlier_fetch_is_found_again(tmp_path: Path) -> None:
    fake_java(tmp_path / "fetched", "17.0.15")
    (tmp_path / "note").write_text(f"{tmp_path / 'fetched'}\n")
    assert find_java(environment(None, None), tmp_path / "note") == str(tmp_path / "fetched")


def test_message_is_one_line_and_names_what_was_found_and_what_to_do(tmp_path: Path) -> None:
    program = fake_java(tmp_path / "path", "11.0.22")
    with pytest.raises(JavaError) as caught:
        find_java(environment(tmp_path / "gone", tmp_path / "path"), tmp_path / "note")
    message = str(caught.value)
    assert "\n" not in message
    assert f"JAVA_HOME={tmp_path / 'gone'} does not run" in message
    assert f"{program} is Java 11.0.22" in message
    assert "17 to 22" in message
    assert "apt install openjdk-17" in message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


def test_nothing_at_all_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(JavaError, match="JAVA_HOME is not set and there is no java on PATH"):
        find_java(environment(None, None), tmp_path / "note")


def test_program_prints_only_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_java(tmp_path / "home", "17.0.15")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    assert main([]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'home'}\n"


def test_program_without_java_exits_1_with_one_line() -> None:
    env = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"} | {"PATH": "/nowhere"}
    done = subprocess.run([sys.executable, "-m", "etl.java"], env=env, capture_output=True, text=True, check=False)
    # An environment for which a JDK was fetched finds that one.
    if not Path(sys.prefix, "java_home.txt").exists():
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)


def test_fetched_home_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cjdk = pytest.importorskip("cjdk")
    monkeypatch.setattr(cjdk, "java_home", lambda **wanted: tmp_path / f"{wanted['vendor']}-{wanted['version']}")
    assert fetch_java(tmp_path / "note") == str(tmp_path / "temurin-17")
    assert (tmp_path / "note").read_text() == f"{tmp_path / 'temurin-17'}\n"


def test_failed_fetch_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cjdk = pytest.importorskip("cjdk")

    def refuse(**wanted: str) -> Path:
        raise cjdk.InstallError("no\nnetwork")

    monkeypatch.setattr(cjdk, "java_home", refuse)
    with pytest.raises(JavaError, match=r"could not fetch temurin:17 \(no network\)"):
        fetch_java(tmp_path / "note")
    assert not (tmp_path / "note").exists()
