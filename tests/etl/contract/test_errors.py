import pytest

from etl.contract.dates import DateRange
from etl.contract.errors import PrerankError, UnknownNameError, UsageError
from etl.errors import (
    EmptyCatalogueError,
    EmptyInputError,
    GateError,
    ImmatureLabelsError,
    MissingDataError,
    RowBalanceError,
)
from etl.write_errors import WriteVerificationError

DAYS = DateRange("2024-02-28", "2024-02-29")
ONE = DateRange("2024-02-28", "2024-02-28")


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (PrerankError("x"), 1, False),
        (UsageError("x"), 2, False),
        (UnknownNameError("verb", "egest", ["ingest"]), 2, False),
        (GateError("events", ["bad"], "docs"), 3, False),
        (WriteVerificationError("events", DAYS, 2, 1), 1, True),
        (EmptyInputError("log", str(DAYS), 3), 1, False),
        (EmptyCatalogueError("log", "items", "item_id", str(DAYS), 3, 2), 1, False),
        (RowBalanceError("log", 3, 1, 1), 1, False),
        (MissingDataError("events", DAYS, "lake"), 1, False),
        (ImmatureLabelsError(DAYS, 2, DateRange("2024-02-01", "2024-03-01")), 1, True),
    ],
)
def test_every_failure_has_its_exit_code_and_says_whether_to_retry(error, code, retryable):
    assert (error.exit_code, error.retryable) == (code, retryable)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UnknownNameError("verb", "egest", ["ingest", "train"]), ["'egest'", "did you mean 'ingest'", "train"]),
        (UnknownNameError("verb", "x", []), ["'x'"]),
        (GateError("events", ["one", "two"], "docs.html"), ["'events'", "- one", "- two", "docs.html"]),
        (WriteVerificationError("events", DAYS, 2, 1), ["'events'", "2 rows were computed", "1 stand", "again"]),
        (EmptyInputError("log", str(DAYS), 3), ["log", "2024-02-28..2024-02-29", "3 rows lie outside"]),
        (
            EmptyCatalogueError("log", "items", "item_id", str(DAYS), 0, 2),
            ["log", "2 rows have no item_id", "lines are whole"],
        ),
        (
            EmptyCatalogueError("log", "items", "item_id", str(DAYS), 3, 0),
            ["ds of 3 rows names no day of 2024-02-28..2024-02-29", "--start-ds"],
        ),
        (RowBalanceError("log", 3, 1, 1), ["3 rows", "1 events + 1 rejected"]),
        (MissingDataError("events", DAYS, "lake"), ["prerank ingest", "--start-ds 2024-02-28 --end-ds 2024-02-29"]),
        (MissingDataError("interactions", None, "lake"), ["prerank interactions", "lake.root"]),
        (MissingDataError("item_vectors", DAYS, "lake"), ["prerank embed --model DIR --ds 2024-02-28;"]),
        (MissingDataError("scores", None, "lake"), ["prerank score --model DIR (is"]),
        (MissingDataError("models", None, "lake"), ["prerank promote"]),
        (MissingDataError("monitoring", DAYS, "lake"), ["prerank monitor --start-ds"]),
        (MissingDataError("interactions_tiles_4", DAYS, "lake"), ["prerank interactions --start-ds"]),
        (MissingDataError("items", DAYS, "lake"), ["ingest --table items"]),
        (MissingDataError("queries_daily", ONE, "lake"), ["prerank interactions --ds 2024-02-28;"]),
        (
            ImmatureLabelsError(DAYS, 2, DateRange("2024-02-01", "2024-03-01")),
            [
                "labels of 2024-02-29 are",
                "2024-02-29 will be when 2024-03-02 is ingested",
                "up to 2024-02-28, or",
                "--start-ds 2024-03-02 --end-ds 2024-03-02",
            ],
        ),
        (
            ImmatureLabelsError(DAYS, 2, DateRange("2024-02-01", "2024-02-29")),
            ["labels of 2024-02-28..2024-02-29 are", "2024-02-28 will be when 2024-03-01 is", "Ingest what is missing"],
        ),
    ],
)
def test_a_message_says_what_where_and_what_to_do(error, words):
    assert [word for word in words if word not in str(error)] == []
