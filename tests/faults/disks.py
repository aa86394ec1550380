"""Small disks, full disks and disks that refuse to be written. Tests skip themselves where nothing may be mounted."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """``folder`` on a disk of its own of ``size``, such as 300k."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _unmount(folder)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Within, nothing below ``folder`` can be written, by root neither."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,ro,bind", str(folder))
        yield
    finally:
        _unmount(folder)


def grow(folder: Path, size: str) -> None:
    _mount("-o", f"remount,size={size}", str(folder))


def fill(disk: Path, leaving: int = 0) -> Path:
    """Take all space of a disk but about ``leaving`` bytes; returns the file that holds it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass
        file.truncate(max(0, file.tell() - leaving))
    return filler


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine lets nobody mount a disk here: {done.stderr.strip()}")


def _unmount(folder: Path) -> None:
    # The JVM may hold a file open yet; the disk goes when it lets go.
    subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)
