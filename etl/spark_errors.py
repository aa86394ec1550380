"""What Spark, Delta and the system say of broken storage, as errors that say where and what to do.

Spark wraps what went wrong once or several times, and only the words survive from one wrapping to the next: failures
are recognised by the names of Spark's and Delta's error conditions, and by the system's own words.
"""

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from etl.contract.errors import PrerankError
from etl.contract.paths import local_part
from etl.sources.errors import InputError
from etl.storage_errors import DamagedFileError, DamagedLogError, DiskFullError, NewerTableError, NotWritableError

_FULL = re.compile(r"No space left on device|Disk quota exceeded|PytorchStreamWriter failed|unexpected pos \d+ vs")
_REFUSED = re.compile(
    r"Read-only file system|Permission denied|Operation not permitted|Mkdirs failed to create"
    r"|DELTA_CANNOT_CREATE_LOG_PATH|AccessControlException|AccessDenied|403 Forbidden"
)
_PATH = re.compile(r"(?:file:)?(/[^\n()]+?)(?:: | \(|$)", re.MULTILINE)
_UNREADABLE = re.compile(
    r"\[(?:FAILED_READ_FILE|CANNOT_READ_FILE_FOOTER)[^\]]*\][^\n]*? file:? (?P<read>\S[^\n]*?)\.(?=\s|$)"
    r"|ChecksumException: Checksum error: (?P<checked>\S+) at"
)
_DAMAGED_LOG = re.compile(
    r"\[(DELTA_TRUNCATED_TRANSACTION_LOG|DELTA_VERSIONS_NOT_CONTIGUOUS|DELTA_STATE_RECOVER_ERROR|DELTA_LOG_FILE_NOT_FOUND"
    r"|DELTA_MISSING_PART_FILES|DELTA_TXN_LOG_FAILED_INTEGRITY|DELTA_CHECKPOINT_NON_EXIST_TABLE"
    r"|DELTA_METADATA_ABSENT_EXISTING_CATALOG_TABLE|DELTA_SCHEMA_NOT_SET)\] ([^\n]*)"
)
_NEWER = re.compile(
    r"\[(DELTA_INVALID_PROTOCOL_VERSION|DELTA_UNSUPPORTED_FEATURES_FOR_\w+|DELTA_INVALID_FORMAT_FROM_SOURCE_VERSION)\] "
    r"([^\n]*)"
)
#: The folder of a table, in what Delta says of its log.
_NAMED = re.compile(r'table "([^"]*/[^"]+)"|([^\s"]+)/_delta_log')
#: Of a damaged file, by the words of what caused it.
_FOUND = {
    r"Permission denied|AccessControlException|AccessDenied": "cannot be read: permission denied",
    r"FILE_NOT_EXIST|FileNotFoundException|NoSuchFile": "is gone",
    r"ChecksumException": "is not what was written: its checksum differs",
    r"is not a Parquet file": "is not a whole Parquet file",
    r"MALFORMED_RECORD_IN_PARSING": "is not whole JSON",
}
_LONGEST = 300


def explained(error: BaseException, root: str, places: Mapping[str, str]) -> PrerankError | None:
    """The explanation of ``error`` where it is one of broken storage, else None.

    ``root`` is the lake's; ``places`` are the folders that the program writes to, by what a user calls them.
    """
    text = said_by(error)
    return (
        _log_error(text, root)
        or _damaged_file(text, root)
        or _other_type(text, root)
        or _unwritten(error, text, places)
    )


def is_about_columns(error: BaseException) -> bool:
    """Whether a column was not found where the program looked for it."""
    return bool(re.search(r"UNRESOLVED_COLUMN|ATTRIBUTE_NOT_SUPPORTED|FIELD_NOT_FOUND", said_by(error)))


@contextmanager
def reading_log(table: str, path: str) -> Iterator[None]:
    """Within, a damaged log of the table at ``path``, or one of a newer Delta, is an error that names the table.

    Delta itself names the table in some of its messages only.
    """
    try:
        yield
    except PrerankError:
        raise
    except Exception as error:
        found = _log_error(said_by(error), path, table)
        if found is None:
            raise
        raise found from error


def said_by(error: BaseException) -> str:
    """What an error and all its causes say, with Java's own chain of causes."""
    parts: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        parts += [str(cause), str(getattr(cause, "_stackTrace", ""))]
        cause = getattr(cause, "_cause", None) or cause.__cause__ or cause.__context__
    return "\n".join(parts)


def unreadable_file(text: str) -> tuple[str, str] | None:
    """The file that could not be read, and what is the matter with it, where ``text`` (see said_by) names one."""
    found = _UNREADABLE.search(text)
    if found is None:
        return None
    state = next((words for cause, words in _FOUND.items() if re.search(cause, text)), None)
    path = local_part(unquote(found["read"] or found["checked"]))
    return path, state or f"cannot be read: {last_cause(text)}"


def last_cause(text: str) -> str:
    """The innermost of Java's causes, or the first line where there are none."""
    causes = [line.removeprefix("Caused by: ") for line in text.splitlines() if line.startswith("Caused by: ")]
    return _shortened([*text.strip().splitlines()[:1], *causes][-1]) if text.strip() else "no message"


def free_space(places: Mapping[str, str]) -> list[tuple[str, int]]:
    """(place, free bytes) of every local place, the fullest first; places on one disk are named together."""
    by_disk: dict[int, tuple[list[str], int]] = {}
    for name, folder in places.items():
        path = Path(local_part(folder)).absolute()
        # Path.exists raises where a folder above may not be searched.
        while not os.path.exists(path):
            path = path.parent
        held = os.statvfs(path)
        free = 0 if held.f_files and not held.f_favail else held.f_bavail * held.f_frsize
        by_disk.setdefault(path.stat().st_dev, ([], free))[0].append(f"{name} {folder}")
    return sorted(((", ".join(names), free) for names, free in by_disk.values()), key=lambda place: place[1])


def _log_error(text: str, place: str, table: str = "") -> PrerankError | None:
    """Of a log that is damaged or a newer Delta's: of the table that Delta names, else of ``table`` at ``place``.
    Without ``table``, ``place`` is the lake and nobody says which."""
    newer = _NEWER.search(text)
    found = newer or _DAMAGED_LOG.search(text)
    if found is None:
        # A protocol that even its own decoder refuses: a version number of the future beside fields of the past.
        undecoded = bool(table) and "EXPRESSION_DECODING_FAILED" in text
        return NewerTableError(table, place, "its log cannot be decoded", _last_writer(place)) if undecoded else None
    if named := _NAMED.search(found[2]):
        place = local_part(named[1] or named[2])
        table = place.rsplit("/", 1)[-1]
    words = _shortened(found[2])
    return NewerTableError(table, place, words, _last_writer(place)) if newer else DamagedLogError(table, place, words)


def _damaged_file(text: str, root: str) -> PrerankError | None:
    found = unreadable_file(text)
    if found is None:
        return None
    path, state = found
    if "/_delta_log/" in path:
        table_path, _, name = path.partition("/_delta_log/")
        return DamagedLogError(table_path.rsplit("/", 1)[-1], table_path, f"{name} {state}")
    if not path.startswith(root.rstrip("/") + "/"):
        return InputError(path, state, "write it again, or leave it out; no table was changed by it")
    table, _, rest = path[len(root.rstrip("/")) + 1 :].partition("/")
    day = re.match(r"ds=([^/]+)/", rest)
    return DamagedFileError(table, day[1] if day else "", path, state)


def _other_type(text: str, root: str) -> PrerankError | None:
    found = re.search(r"\[DELTA_FAILED_TO_MERGE_FIELDS\] Failed to merge fields '(.*?)'", text)
    if found is None:
        return None
    return InputError(
        root,
        f"column '{found[1]}' of the table to be written has another type than this version of prerank gives it: "
        "another version, or another program, wrote the table. Nothing was changed",
        "run the one that wrote it, or give this one a lake of its own (lake.root)",
    )


def _unwritten(error: BaseException, text: str, places: Mapping[str, str]) -> PrerankError | None:
    full, refused = _FULL.search(text), _REFUSED.search(text)
    if full is None and refused is None:
        return None
    if refused is None or refused[0].startswith("Mkdirs"):
        free = free_space(places)
        # A folder that cannot be made is all that Hadoop says of a full disk.
        if refused is None or (free and free[0][1] == 0):
            held = ", ".join(f"{size / 1e6:,.1f} MB at {place}" for place, size in free)
            return DiskFullError(_where(error, text, full or refused), held or "unknown")
    place = _where(error, text, refused)
    if os.path.isfile(place) and not os.access(place, os.R_OK):
        return InputError(place, f"cannot be read ({refused[0]})", "let the user who runs prerank read it")
    return NotWritableError(place, refused[0])


def _where(error: BaseException, text: str, found: re.Match[str] | None) -> str:
    """The path that the system's complaint is about, or the complaint itself."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.filename and cause.errno in _ERRNOS:
            return os.fspath(cause.filename) if not isinstance(cause.filename, int) else str(cause)
        cause = cause.__cause__
    assert found is not None
    start = text.rfind("\n", 0, found.start()) + 1
    end = text.find("\n", found.end())
    line = text[start : end if end >= 0 else len(text)]
    place = _PATH.search(line)
    return place[1] if place else _shortened(line.removeprefix("Caused by: ").removeprefix(": "))


_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def _last_writer(path: str) -> str:
    """Which program made the newest commit of a local table that has an entry of it; empty where nobody says."""
    names = sorted(Path(local_part(path)).glob("_delta_log/*.json"))
    found = re.search(r'"engineInfo":\s*"([^"]+)"', names[-1].read_text(encoding="utf-8")) if names else None
    return found[1] if found else ""


def _shortened(words: str) -> str:
    return words.strip().rstrip(".")[:_LONGEST]
