"""Installed distributions: those that the program needs, and the files of each.

What is packaged is what is installed here, in the versions that were tried here; nothing is resolved or fetched anew.
"""

import re
from collections.abc import Collection, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from scoring.errors import PackageError

PROJECT = "prerank"


def project() -> Distribution:
    """The program's own metadata; PackageError where it runs from bare sources."""
    return _installed(PROJECT, "the program itself")


def required(leave_out: Collection[str]) -> list[Distribution]:
    """Everything that the program needs beside itself, by name; ``leave_out`` and what only these need is missing.

    Raises PackageError for a requirement that is not installed.
    """
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(PROJECT, "", "the program itself")]
    while waiting:
        name, extra, wanted_by = waiting.pop()
        if (name, extra) in seen or name in leave_out:
            continue
        seen.add((name, extra))
        found[name] = _installed(name, wanted_by)
        for requirement in map(Requirement, found[name].requires or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                wanted = _normal(requirement.name)
                waiting += [(wanted, each, name) for each in ("", *requirement.extras)]
    return [found[name] for name in sorted(found) if name != PROJECT]


def files_of(found: Distribution) -> Iterator[tuple[str, Path]]:
    """(path below site-packages, file) of a distribution, without scripts, bytecode and path files.

    Raises PackageError where no installer has left a list of them.
    """
    if found.files is None:
        raise PackageError(
            f"{found.metadata['Name']} was installed without a list of its files",
            "make the environment with pip or uv, or leave it to the hosts: --environment none",
        )
    for file in sorted(found.files):
        if ".." not in file.parts and "__pycache__" not in file.parts and file.suffix not in (".pyc", ".pth"):
            yield file.as_posix(), Path(str(file.locate()))


def _installed(name: str, wanted_by: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError as error:
        raise PackageError(
            f"{name}, which {wanted_by} needs, is not installed", "install prerank with its dependencies: make setup"
        ) from error


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
