"""The files behind a path: a file, a folder or a glob on any file system that Spark can read."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from etl.contract.masking import masked_text
from etl.contract.settings import digest
from etl.jvm import java_class
from etl.runs import RawFile, RawInput
from etl.sources.errors import InputError

#: What a call into Spark's JVM raises.
JVM_ERRORS = (PySparkException, Py4JJavaError)

_PATH = "org.apache.hadoop.fs.Path"
_CODECS = "org.apache.hadoop.io.compress.CompressionCodecFactory"
_GLOB = "{}[]*?\\"
# Plain words only, so that what is asked for is known: {2026-01-01,2026-01-02}, but not {2026-*,{a,b}}.
_ALTERNATIVES = re.compile(r"(?<!\\)\{([^{}\[\]*?\\,]+(?:,[^{}\[\]*?\\,]+)+)\}")
# In a run's record; the digest is of all.
_MOST_LISTED = 1000


@dataclass(frozen=True)
class Listing:
    """``files`` in name order, as absolute URIs; partition folders (``day=...``) below ``base`` become columns."""

    base: str
    files: tuple[str, ...]
    empty: tuple[str, ...] = ()
    """Files of 0 bytes, which are not in ``files``: some writers leave them where a part had no rows."""


class Found(NamedTuple):
    path: str
    bytes: int
    modified_ms: int
    """Since 1970, UTC."""


def list_files(spark: SparkSession, path: str | None) -> Listing:
    """Every file at ``path`` that is not empty and not hidden (``_`` or ``.`` in front), in all folders below.

    Raises InputError if there is none, none for one of the words of ``{a,b}``, or the path cannot be listed.
    """
    base, found = _visible_files(spark, path)
    _require_some(path, found)
    whole, empty = (tuple(file.path for file in found if (file.bytes > 0) == some) for some in (True, False))
    return Listing(base, whole, empty)


def files_at(spark: SparkSession, path: str | None) -> tuple[str, list[Found]]:
    """As list_files: the folder below which folder names become columns, and the files with size and time of change."""
    base, found = _visible_files(spark, path)
    _require_some(path, found)
    return base, [file for file in found if file.bytes > 0]


def _require_some(path: str | None, found: list[Found]) -> None:
    if not any(file.bytes for file in found):
        raise InputError(str(path), f"every file is empty (0 bytes), {found[0].path} for one", "write the log again")


def _visible_files(spark: SparkSession, path: str | None) -> tuple[str, list[Found]]:
    """The files that are not hidden; at least one."""
    if not path:
        raise InputError("--input", "no path given", "name a file, a folder or a glob")
    with _explained(path):
        base, found = _list(spark, os.path.expanduser(path))
    if found is None:
        raise InputError(path, "no such file or folder", "check the path; a glob must match at least one file")
    if any("/_delta_log/" in file.path for file in found):
        raise InputError(
            path, "is a Delta table, whose files may hold deleted rows", "write its current rows as Parquet"
        )
    visible = [file for file in sorted(found) if not _hidden(file.path.removeprefix(base))]
    if not visible:
        raise InputError(path, "holds no files", "check the path; names that begin with _ or . are not read")
    with _explained(path):
        absent = _absent(spark, os.path.expanduser(path), visible)
    if absent:
        raise InputError(
            path,
            f"nothing is there for {', '.join(absent)} (no file, or empty ones)",
            "bring it, or leave it out of the path and of the days to ingest: they would lose what they hold",
        )
    return base, visible


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except JVM_ERRORS as error:
        raise InputError(
            path, f"cannot be listed ({first_line(error)})", "check the path and its permissions"
        ) from error


def raw_input(spark: SparkSession, path: str) -> RawInput:
    """What ``path`` holds now, for the record of a run that reads it. Raises InputError as list_files does."""
    _, found = files_at(spark, path)
    # A URI may carry a password, which belongs into no record.
    files = [
        RawFile(masked_text(file.path), file.bytes, datetime.fromtimestamp(file.modified_ms / 1000, UTC))
        for file in found
    ]
    newest = max(file.modified_at for file in files)
    size = sum(file.bytes for file in files)
    state = digest([list(file) for file in found])
    return RawInput(masked_text(path), len(files), size, newest, state, files[:_MOST_LISTED])


def head(spark: SparkSession, file: str, size: int = 65536) -> str:
    """The first bytes of a file as text, decompressed by its extension. Raises InputError."""
    conf = _hadoop_conf(spark)
    hadoop_path = java_class(spark, _PATH)(file)
    try:
        stream = hadoop_path.getFileSystem(conf).open(hadoop_path)
        try:
            codec = java_class(spark, _CODECS)(conf).getCodec(hadoop_path)
            data = (codec.createInputStream(stream) if codec is not None else stream).readNBytes(size)
        finally:
            stream.close()
    except JVM_ERRORS as error:
        raise InputError(file, f"cannot be read ({first_line(error)})", "check the file and its permissions") from error
    return bytes(data).decode("utf-8-sig", errors="replace")


def tail(spark: SparkSession, file: str, size: int) -> bytes:
    """The last bytes of a file; fewer if it is shorter. Raises InputError."""
    hadoop_path = java_class(spark, _PATH)(file)
    try:
        file_system = hadoop_path.getFileSystem(_hadoop_conf(spark))
        length = file_system.getFileStatus(hadoop_path).getLen()
        stream = file_system.open(hadoop_path)
        try:
            stream.seek(max(length - size, 0))
            return bytes(stream.readNBytes(size))
        finally:
            stream.close()
    except JVM_ERRORS as error:
        raise InputError(file, f"cannot be read ({first_line(error)})", "check the file and its permissions") from error


@contextmanager
def partition_values_as_text(spark: SparkSession) -> Iterator[None]:
    """Within: values in folder names stay text, so that ``store=007`` keeps its zeros."""
    key = "spark.sql.sources.partitionColumnTypeInference.enabled"
    before = spark.conf.get(key)
    spark.conf.set(key, "false")
    try:
        yield
    finally:
        if before is not None:
            spark.conf.set(key, before)


def literal(file: str) -> str:
    """A file name that Spark will not take for a glob."""
    return "".join("\\" + char if char in _GLOB else char for char in file)


def first_line(error: Exception) -> str:
    """What the JVM complained about, without the stack."""
    text = str(error.java_exception) if isinstance(error, Py4JJavaError) else str(error)
    return text.strip().split("\n", 1)[0][:300]


def files_below(spark: SparkSession, folder: str) -> list[Found]:
    """Every file in all folders below, hidden ones too."""
    path = java_class(spark, _PATH)(folder)
    return list(_walk(path.getFileSystem(_hadoop_conf(spark)).listFiles(path, True)))


def _list(spark: SparkSession, path: str) -> tuple[str, list[Found] | None]:
    hadoop_path = java_class(spark, _PATH)(path)
    file_system = hadoop_path.getFileSystem(_hadoop_conf(spark))
    full = file_system.makeQualified(hadoop_path)
    if file_system.exists(full):
        roots = [file_system.getFileStatus(full)]
        base = str((full if roots[0].isDirectory() else full.getParent()).toString())
    else:
        roots = list(file_system.globStatus(full) or [])
        base = _before_glob(str(full.toString()))
    if not roots:
        return base, None
    found: list[Found] = []
    for root in roots:
        if root.isDirectory():
            found += _walk(file_system.listFiles(root.getPath(), True))
        else:
            found.append(_found(root))
    return base, found


def _absent(spark: SparkSession, path: str, found: list[Found]) -> list[str]:
    """Words of ``{a,b}`` in a glob for which no file that is not empty was found: the glob itself matches without.

    Braces within braces are left alone.
    """
    if not _ALTERNATIVES.search(path) or re.search(r"\{[^}]*\{", path):
        return []
    hadoop_path = java_class(spark, _PATH)(path)
    file_system = hadoop_path.getFileSystem(_hadoop_conf(spark))
    full = file_system.makeQualified(hadoop_path)
    if file_system.exists(full):
        return []
    uri, absent = str(full.toString()), []
    for group in _ALTERNATIVES.finditer(uri):
        for word in group[1].split(","):
            one = java_class(spark, _PATH)(uri[: group.start()] + word + uri[group.end() :])
            roots = {str(root.getPath().toString()) for root in file_system.globStatus(one) or []}
            if not any(file.bytes and _is_below(file.path, roots) for file in found):
                absent.append(word)
    return list(dict.fromkeys(absent))


def _is_below(path: str, roots: set[str]) -> bool:
    """Whether a path is one of ``roots`` or lies in one."""
    while path not in roots and "/" in path:
        path = path.rpartition("/")[0]
    return path in roots


def _walk(files: Any) -> Iterator[Found]:
    while files.hasNext():
        yield _found(files.next())


def _found(status: Any) -> Found:
    return Found(str(status.getPath().toString()), int(status.getLen()), int(status.getModificationTime()))


def _hidden(relative: str) -> bool:
    parts = [part for part in relative.split("/") if part]
    # A folder like _day=1 holds a partition, whatever it begins with.
    return any(part[0] in "_." and "=" not in part for part in parts)


def _before_glob(uri: str) -> str:
    parts = uri.split("/")
    for index, part in enumerate(parts):
        if any(char in _GLOB for char in part):
            return "/".join(parts[:index])
    return "/".join(parts[:-1])


def _hadoop_conf(spark: SparkSession) -> Any:
    context: Any = spark.sparkContext
    return context._jsc.hadoopConfiguration()
