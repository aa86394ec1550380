"""The program as a wheel: a zip of its packages and their metadata, byte for byte the same for the same sources."""

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("dags", "etl", "models", "scoring")
_WHEEL = "Wheel-Version: 1.0\nGenerator: prerank package\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
#: File of a wheel's metadata -> its name beside sources that are installed in place, where that is another one.
_METADATA = {"METADATA": "PKG-INFO", "entry_points.txt": "entry_points.txt", "top_level.txt": "top_level.txt"}
# Zip knows no earlier date; none at all is what makes two wheels of the same sources equal.
_DATE = (1980, 1, 1, 0, 0, 0)


def wheel_name(own: Distribution) -> str:
    return f"prerank-{own.version}-py3-none-any.whl"


def wheel_files(own: Distribution) -> dict[str, bytes]:
    """Path in the wheel -> content, the record of all last."""
    folder = f"prerank-{own.version}.dist-info"
    files = {name: path.read_bytes() for name, path in package_files()}
    for name, in_place in _METADATA.items():
        if text := own.read_text(name) or own.read_text(in_place):
            files[f"{folder}/{name}"] = text.encode()
    files[f"{folder}/WHEEL"] = _WHEEL.encode()
    lines = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    record = f"{folder}/RECORD"
    files[record] = "".join(f"{line}\n" for line in [*lines, f"{record},,"]).encode()
    return files


def package_files() -> Iterator[tuple[str, Path]]:
    """(path below the packages' common folder, file) of the packages as they are imported here."""
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        root = Path(spec.origin).parent
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{package}/{path.relative_to(root).as_posix()}", path


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = mode_of(name) << 16
            archive.writestr(entry, content)


def mode_of(name: str) -> int:
    return 0o755 if name.endswith(".sh") else 0o644


def _digest(content: bytes) -> str:
    """As a wheel's RECORD has it."""
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
