"""Which code this is, for the record of a trained model."""

import hashlib
import subprocess
from importlib import metadata
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def code_version(root: Path = _ROOT) -> dict[str, str]:
    """``version`` of the program, and ``git_sha`` where it runs from its own checkout ('-dirty' with changes in it)."""
    try:
        version = metadata.version("prerank")
    except metadata.PackageNotFoundError:
        version = ""
    # An installed copy may lie inside somebody else's checkout, whose commit says nothing of it.
    own = _git(root, "rev-parse", "--show-toplevel") == str(root)
    sha = _git(root, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") if own else ""
    return {"version": version, "git_sha": sha}


def source_digest(package: Path = Path(__file__).parent) -> str:
    """A hash of a package's sources, this one's by default: changes in a checkout have no commit to be told by."""
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        found.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def _git(root: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
