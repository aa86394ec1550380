"""Which Java runs Spark. ``python -m etl.java [--fetch]`` prints its JAVA_HOME, or one line that says what is missing.

Tried in this order: ``$JAVA_HOME``, ``java`` on PATH, the JDK that an earlier ``--fetch`` brought for this
environment, and, with ``--fetch`` only, a JDK that cjdk downloads into the user's cache.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from etl.contract.errors import PrerankError

#: Spark 4.1 supports 17 and 21. Its Hadoop client (3.4.2) calls Subject.getSubject, which throws from Java 23 on.
OLDEST, NEWEST = 17, 22
FETCHED_VENDOR, FETCHED_VERSION = "temurin", "17"
PROBE_SECONDS = 60

_PROPERTY = re.compile(r"^\s*java\.(home|version)\s*=\s*(\S.*?)\s*$", re.MULTILINE)


class JavaError(PrerankError):
    """No Java that Spark can run on; the message names what was found and what to install."""


@dataclass(frozen=True)
class Java:
    """One installed Java: its home folder, its full version and the number that counts."""

    home: str
    version: str
    major: int

    @property
    def usable(self) -> bool:
        return OLDEST <= self.major <= NEWEST


def parse_java(text: str) -> Java | None:
    """Read what ``java -XshowSettings:properties -version`` prints; None if this is not it."""
    found = dict(_PROPERTY.findall(text))
    numbers = re.match(r"(?:1\.)?(\d+)", found.get("version", ""))
    if numbers is None or "home" not in found:
        return None
    return Java(found["home"], found["version"], int(numbers.group(1)))


def probe(executable: str) -> Java | None:
    """Ask a ``java`` program for its home and version; None if it does not run."""
    command = [executable, "-XshowSettings:properties", "-version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_java(done.stderr + done.stdout)


def find_java(env: Mapping[str, str], remembered: Path) -> str:
    """The JAVA_HOME to use, without asking the network. ``remembered`` is the note of an earlier fetch.

    Raises JavaError with everything that was tried.
    """
    tried: list[str] = []
    for name, executable in _candidates(env, remembered):
        java = probe(executable)
        if java is not None and java.usable:
            return java.home
        tried.append(f"{name} {'does not run' if java is None else f'is Java {java.version}'}")
    raise JavaError(
        f"no Java that Spark can use: {'; '.join(tried) or 'JAVA_HOME is not set and there is no java on PATH'}. "
        f"Needed: Java {OLDEST} to {NEWEST} (Spark supports 17 and 21). Install it (Debian, Ubuntu: apt install "
        "openjdk-17-jre-headless or openjdk-21-jre-headless; macOS: brew install openjdk@17) or point JAVA_HOME at it"
    )


def require_java() -> str:
    """The JAVA_HOME that Spark should use on this machine. Raises JavaError."""
    return find_java(os.environ, _note())


def fetch_java(remembered: Path) -> str:
    """Have cjdk download a JDK into the user's cache, and note its home for later runs. Raises JavaError."""
    try:
        import cjdk
    except ImportError as error:
        raise JavaError("cjdk, which could fetch a JDK, is not installed: pip install cjdk") from error
    try:
        home = cjdk.java_home(vendor=FETCHED_VENDOR, version=FETCHED_VERSION)
    except (cjdk.CjdkError, OSError) as error:
        # The cause is often several lines long, and this message is one.
        reason = " ".join(str(error).split())
        raise JavaError(f"cjdk could not fetch {FETCHED_VENDOR}:{FETCHED_VERSION} ({reason:.200})") from error
    remembered.write_text(f"{home}\n", encoding="utf-8")
    return str(home)


def main(arguments: Sequence[str]) -> int:
    """Print the JAVA_HOME (exit code 0), or the reason why there is none (1)."""
    parser = argparse.ArgumentParser(prog="python -m etl.java", description="Print the JAVA_HOME for Spark.")
    parser.add_argument("--fetch", action="store_true", help="if there is no usable Java, let cjdk download one")
    options = parser.parse_args(arguments)
    try:
        home = _find_or_fetch() if options.fetch else require_java()
    except JavaError as error:
        sys.stderr.write(f"prerank: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{home}\n")
    return 0


def _find_or_fetch() -> str:
    try:
        return require_java()
    except JavaError as missing:
        try:
            return fetch_java(_note())
        except JavaError as error:
            raise JavaError(f"{missing}. {error}") from error


def _candidates(env: Mapping[str, str], remembered: Path) -> list[tuple[str, str]]:
    """(what to call it, the program to ask), best first."""
    found: list[tuple[str, str]] = []
    if env.get("JAVA_HOME"):
        found.append((f"JAVA_HOME={env['JAVA_HOME']}", str(Path(env["JAVA_HOME"], "bin", "java"))))
    on_path = shutil.which("java", path=env.get("PATH", ""))
    if on_path:
        found.append((on_path, on_path))
    if remembered.is_file():
        home = remembered.read_text(encoding="utf-8").strip()
        found.append((f"the fetched {home}", str(Path(home, "bin", "java"))))
    return found


def _note() -> Path:
    """Where the home of a fetched JDK is written down: inside the environment, so that it goes with it."""
    return Path(sys.prefix, "java_home.txt")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
