"""The files behind a path: a file, a folder or a glob on any file system that Spark can read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from etl.sources.errors import InputError

#: What a call into Spark's JVM raises.
JVM_ERRORS = (PySparkException, Py4JJavaError)

_GLOB = "{}[]*?\\"


@dataclass(frozen=True)
class Listing:
    """``files`` in name order, as absolute URIs; partition folders (``day=...``) below ``base`` become columns."""

    base: str
    files: tuple[str, ...]


def list_files(spark: SparkSession, path: str | None) -> Listing:
    """Every file at ``path`` that is not empty and not hidden (``_`` or ``.`` in front), in all folders below.

    Raises InputError if there is none, or the path cannot be listed.
    """
    if not path:
        raise InputError("--input", "no path given", "name a file, a folder or a glob")
    try:
        base, found = _list(spark, os.path.expanduser(path))
    except JVM_ERRORS as error:
        raise InputError(
            path, f"cannot be listed ({first_line(error)})", "check the path and its permissions"
        ) from error
    if found is None:
        raise InputError(path, "no such file or folder", "check the path; a glob must match at least one file")
    if any("/_delta_log/" in name for name, _ in found):
        raise InputError(
            path, "is a Delta table, whose files may hold deleted rows", "write its current rows as Parquet"
        )
    visible = [(name, size) for name, size in sorted(found) if not _hidden(name.removeprefix(base))]
    if not visible:
        raise InputError(path, "holds no files", "check the path; names that begin with _ or . are not read")
    files = tuple(name for name, size in visible if size > 0)
    if not files:
        raise InputError(path, f"every file is empty (0 bytes), {visible[0][0]} for one", "write the log again")
    return Listing(base, files)


def head(spark: SparkSession, file: str, size: int = 65536) -> str:
    """The first bytes of a file as text, decompressed by its extension. Raises InputError."""
    jvm: Any = spark._jvm
    conf = _hadoop_conf(spark)
    hadoop_path = jvm.org.apache.hadoop.fs.Path(file)
    try:
        stream = hadoop_path.getFileSystem(conf).open(hadoop_path)
        try:
            codec = jvm.org.apache.hadoop.io.compress.CompressionCodecFactory(conf).getCodec(hadoop_path)
            data = (codec.createInputStream(stream) if codec is not None else stream).readNBytes(size)
        finally:
            stream.close()
    except JVM_ERRORS as error:
        raise InputError(file, f"cannot be read ({first_line(error)})", "check the file and its permissions") from error
    return bytes(data).decode("utf-8-sig", errors="replace")


def tail(spark: SparkSession, file: str, size: int) -> bytes:
    """The last bytes of a file; fewer if it is shorter. Raises InputError."""
    jvm: Any = spark._jvm
    hadoop_path = jvm.org.apache.hadoop.fs.Path(file)
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


def _list(spark: SparkSession, path: str) -> tuple[str, list[tuple[str, int]] | None]:
    jvm: Any = spark._jvm
    hadoop_path = jvm.org.apache.hadoop.fs.Path(path)
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
    found: list[tuple[str, int]] = []
    for root in roots:
        if root.isDirectory():
            found += _walk(file_system.listFiles(root.getPath(), True))
        else:
            found.append((str(root.getPath().toString()), int(root.getLen())))
    return base, found


def _walk(files: Any) -> Iterator[tuple[str, int]]:
    while files.hasNext():
        status = files.next()
        yield str(status.getPath().toString()), int(status.getLen())


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
