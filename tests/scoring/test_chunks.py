"""Parts of a day that are kept aside: by two runs at once, by one that was killed, and damaged ones."""

from pathlib import Path

import pytest
from pyspark.sql import functions as F

from etl.lake import Lake
from etl.scored_parts import remove_parts
from scoring.chunks import scored_in_chunks
from scoring.errors import LostPartError

pytestmark = pytest.mark.spark

IDS = [f"r{number}" for number in range(12)]


@pytest.fixture
def lake(spark, tmp_path):
    return Lake(spark, str(tmp_path / "lake"))


def upper(part):
    return part.select("request_id", F.upper("request_id").alias("ranked"))


def scored(lake, run_id, score=upper):
    """(request ids, their rankings, chunks that were there) of a run in three chunks."""
    requests = lake.spark.createDataFrame([(one,) for one in IDS], "request_id string")
    with scored_in_chunks(lake, "2024-03-01", "v1", "settings", run_id, requests, 3, score) as (frame, kept):
        rows = sorted((row.request_id, row.ranked) for row in frame.collect())
    return rows, kept


EXPECTED = sorted((one, one.upper()) for one in IDS)


def killed_after(chunks):
    calls = []

    def score(part):
        calls.append(part)
        if len(calls) > chunks:
            raise KeyboardInterrupt
        return upper(part)

    return score


def test_two_runs_at_once_take_nothing_from_each_other(lake):
    begun, other = [], []

    def beside(part):
        begun.append(part)
        if len(begun) == 2:
            other.append(scored(lake, "b"))
        return upper(part)

    assert scored(lake, "a", beside) == (EXPECTED, 0)
    # It found the first chunk of the one that it ran within, and took it away when it was done.
    assert (other, len(begun)) == ([(EXPECTED, 1)], 4)
    assert not list(Path(lake.root).glob("_scoring/*"))


def test_what_a_killed_run_left_unfinished_is_neither_read_nor_taken_away_until_all_parts_are(lake):
    with pytest.raises(KeyboardInterrupt):
        scored(lake, "killed", killed_after(2))
    [inputs] = Path(lake.root).glob("_scoring/*/*/*")
    unfinished = inputs / "chunk=2" / "beside" / "part-0.parquet"
    unfinished.parent.mkdir(parents=True)
    unfinished.write_text("half a file")
    assert scored(lake, "again") == (EXPECTED, 2)
    assert list(Path(lake.root).rglob("*.parquet")) == [unfinished]
    assert (remove_parts(lake, dry_run=True), unfinished.exists()) == (1, True)
    assert (remove_parts(lake), remove_parts(lake)) == (1, 0)
    assert not list(Path(lake.root).glob("_scoring"))


def test_of_two_finished_parts_of_a_chunk_the_first_by_name_is_read(lake):
    with pytest.raises(KeyboardInterrupt):
        scored(lake, "a", killed_after(1))
    [first] = Path(lake.root).glob("_scoring/*/*/*/chunk=0/a")
    # Were this one read, rows would be missing.
    first.with_name("b").mkdir()
    (first.with_name("b") / "_SUCCESS").touch()
    assert scored(lake, "c") == (EXPECTED, 1)


@pytest.mark.parametrize(
    ("damage", "said"), [("cut off", "is not a whole Parquet file"), ("gone", "hold 9 of the day's 12 requests")]
)
def test_a_damaged_part_is_taken_away_and_the_next_run_makes_it_anew(lake, damage, said):
    with pytest.raises(KeyboardInterrupt):
        scored(lake, "killed", killed_after(1))
    for path in Path(lake.root).rglob("*.parquet"):
        path.with_name(f".{path.name}.crc").unlink()
        path.unlink() if damage == "gone" else path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(LostPartError, match=said):
        scored(lake, "again")
    rows, kept = scored(lake, "once more")
    assert (rows, kept) == (EXPECTED, 2 if damage == "cut off" else 0)
