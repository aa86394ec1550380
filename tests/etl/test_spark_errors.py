"""What broken storage says, as Spark and the system word it, and what a user is told."""

import errno

import pytest

from etl.contract.errors import PrerankError
from etl.sources.errors import InputError
from etl.spark_errors import explained, free_space, reading_log, said_by
from etl.storage_errors import DamagedFileError, DamagedLogError, DiskFullError, NewerTableError, NotWritableError

CALL = "An error occurred while calling o1.save.\n: org.apache.spark.SparkException: [TASK_WRITE_FAILED] no\n"
UNREADABLE = "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file {}.  SQLSTATE: KD001\nCaused by: {}"
EVENTS = "file:///lake/events/ds=2024-02-28/part-0.parquet"


def told(message, error=RuntimeError):
    return explained(error(message), "/lake", {"lake.root": "/"})


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        (f"{CALL}Caused by: java.io.IOException: No space left on device", DiskFullError, ["MB at lake.root /"]),
        ("PytorchStreamWriter failed writing file data/0: file write failed", DiskFullError, ["no space left"]),
        (
            f"{CALL}Caused by: java.io.FileNotFoundException: /lake/runs/part-0.parquet (Read-only file system)",
            NotWritableError,
            ["/lake/runs/part-0.parquet", "Read-only file system", "again"],
        ),
        (
            f"{CALL}Caused by: java.io.IOException: Mkdirs failed to create file:/lake/runs/ds=1 (exists=false)",
            NotWritableError,
            ["/lake/runs/ds=1"],
        ),
        (
            UNREADABLE.format(EVENTS, "java.lang.RuntimeException: x is not a Parquet file"),
            DamagedFileError,
            ["'events', 2024-02-28", "/lake/events/ds=2024-02-28/part-0.parquet is not a whole Parquet file", "ingest"],
        ),
        (
            UNREADABLE.format("/lake/interactions_tiles_4/ds=2024-02-28/p.parquet", "java.io.IOException: odd bytes"),
            DamagedFileError,
            ["odd bytes", "interactions --again --start-ds 2024-02-28 --end-ds 2024-03-02"],
        ),
        (
            UNREADABLE.format("/lake/runs/ds=2024-02-28/p.parquet", "java.io.FileNotFoundException: p"),
            DamagedFileError,
            ["is gone", "DELETE FROM delta.`/lake/runs` WHERE ds = '2024-02-28'", "backfill"],
        ),
        (
            UNREADABLE.format("file:/raw%20logs/a.parquet", "java.io.IOException: odd bytes"),
            InputError,
            ["/raw logs/a.parquet: cannot be read", "odd bytes"],
        ),
        (
            UNREADABLE.format(
                "file:///lake/events/_delta_log/00000000000000000001.json", "[MALFORMED_RECORD_IN_PARSING]"
            ),
            DamagedLogError,
            ["'events'", "00000000000000000001.json is not whole JSON"],
        ),
        (
            '[DELTA_UNSUPPORTED_FEATURES_FOR_WRITE] Unsupported: table "file:/lake/scores" requires x by Delta "4.4.0"',
            NewerTableError,
            ["'scores' at /lake/scores", "requires x"],
        ),
        (
            "[DELTA_FAILED_TO_MERGE_FIELDS] Failed to merge fields 'position' and 'position'",
            InputError,
            ["column 'position'", "another type"],
        ),
    ],
)
def test_broken_storage_is_recognised_by_its_words(message, kind, words):
    error = told(message)
    assert type(error) is kind
    assert [word for word in words if word not in str(error)] == []


def test_other_failures_are_left_as_they_are():
    assert told("division by zero") is None
    assert told(f"{CALL}Caused by: java.lang.OutOfMemoryError: Java heap space") is None


def test_the_systems_own_errors_name_their_file():
    error = explained(OSError(errno.EACCES, "Permission denied", "/out/data"), "/lake", {})
    assert isinstance(error, NotWritableError)
    assert error.place == "/out/data"


def test_every_cause_is_heard():
    error = RuntimeError("job failed")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert said_by(error).split("\n")[0] == "job failed"
    assert isinstance(explained(error, "/lake", {}), DiskFullError)


def test_a_log_that_cannot_be_opened_is_its_tables():
    with pytest.raises(DamagedLogError, match=r"table 'runs'.*not contiguous"), reading_log("runs", "/lake/runs"):
        raise RuntimeError("[DELTA_VERSIONS_NOT_CONTIGUOUS] Versions (0, 2) are not contiguous. A gap")
    with pytest.raises(NewerTableError, match="table 'runs'"), reading_log("runs", "/lake/runs"):
        raise RuntimeError('[DELTA_INVALID_PROTOCOL_VERSION] Unsupported: table "x" requires reader version 9')
    with pytest.raises(DamagedLogError, match="table 'events'"), reading_log("runs", "/lake/runs"):
        raise RuntimeError("[DELTA_TRUNCATED_TRANSACTION_LOG] file:/lake/events/_delta_log/00.json: Unable to")
    with pytest.raises(KeyError), reading_log("runs", "/lake/runs"):
        raise KeyError("unknown")
    with pytest.raises(PrerankError, match="own"), reading_log("runs", "/lake/runs"):
        raise PrerankError("own")


def test_where_nobody_names_the_table_no_advice_is_about_the_whole_lake():
    found = explained(RuntimeError("[DELTA_VERSIONS_NOT_CONTIGUOUS] Versions (0, 2) are not contiguous."), "/lake", {})
    assert isinstance(found, DamagedLogError)
    assert "a table of /lake" in str(found)
    assert "away" not in str(found)


def test_places_on_one_disk_are_named_together(tmp_path):
    [(names, free)] = free_space({"a": str(tmp_path), "b": str(tmp_path / "not" / "made" / "yet")})
    assert names == f"a {tmp_path}, b {tmp_path}/not/made/yet"
    assert free > 0


def test_what_may_not_be_searched_is_asked_about_no_further(tmp_path, monkeypatch):
    def refused(path: str) -> bool:
        return str(path) == str(tmp_path.parent)

    monkeypatch.setattr("etl.spark_errors.os.path.exists", refused)
    [(names, free)] = free_space({"a": str(tmp_path / "lake")})
    assert names == f"a {tmp_path}/lake"
    assert free > 0


def test_a_file_that_may_not_be_read_is_not_said_to_be_unwritable(tmp_path, monkeypatch):
    path = tmp_path / "manifest.json"
    path.touch()
    monkeypatch.setattr("etl.spark_errors.os.access", lambda place, mode: False)
    error = explained(PermissionError(errno.EACCES, "Permission denied", str(path)), "/lake", {})
    assert isinstance(error, InputError)
    assert f"{path}: cannot be read" in str(error)
