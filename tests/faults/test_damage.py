"""Files that are cut off, garbled or gone: named, with the way out; and nothing else is lost."""

import gzip
import json
import random
import shutil

import pytest

from etl.contract import columns as c
from etl.tiles import table_of
from tests.etl.logs import random_log
from tests.faults.program import DAY, ONE_DAY, WHOLE_RANGE, forget_checksum, truncate

pytestmark = [pytest.mark.faults, pytest.mark.spark, pytest.mark.slow]

TABLES = (c.EVENTS, c.INTERACTIONS_DAILY, c.QUERIES_DAILY, c.INTERACTIONS)


def garble(path):
    """The size and both ends stay, what lies between is noise."""
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 4, 3 * len(data) // 4)
    data[middle] = random.Random(5).randbytes(middle.stop - middle.start)
    path.write_bytes(data)
    forget_checksum(path)


def cut_out(path):
    """The end stays, what lies before it is gone."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + data[-400:])


def tables_of(program):
    return {table: program.rows(table) for table in TABLES}


def files_of(program):
    """Every file of the tables but the records of failed runs."""
    return {str(path) for table in TABLES for path in (program.lake / table).rglob("*") if path.suffix != ".crc"}


def test_a_damaged_raw_file_is_named_and_nothing_of_it_is_taken(copied, whole):
    program = copied()
    file = program.root / "raw" / "part-1.parquet"
    kept, before = file.read_bytes(), files_of(program)
    damages = {
        "is not a whole Parquet file": truncate,
        "Spark cannot read it as parquet": lambda path: path.write_bytes(b"PAR1"),
        "is empty (0 bytes)": lambda path: path.write_bytes(b""),
        "": garble,
        "cannot read": cut_out,
    }
    for state, damage in damages.items():
        file.write_bytes(kept)
        damage(file)
        program.fails(*program.ingest(), saying=["raw/part-1.parquet: ", state, "write it again"])
        assert files_of(program) == before
    file.write_bytes(kept)
    program.succeeds(*program.ingest())
    assert tables_of(program) == tables_of(whole)
    assert program.rows(c.EVENTS_REJECTED) == whole.rows(c.EVENTS_REJECTED)


def test_a_truncated_archive_of_text_is_named(copied):
    program = copied()
    shutil.rmtree(program.root / "raw")
    (program.root / "raw").mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in random_log([DAY], 2000, seed=5))
    data = gzip.compress(lines.encode())
    (program.root / "raw" / "log.json.gz").write_bytes(data[: len(data) // 2])
    before = files_of(program)
    words = [word if word != "parquet" else "json" for word in program.ingest()]
    program.fails(*words, saying=["raw/log.json.gz: ", "write it again"])
    assert files_of(program) == before


@pytest.mark.parametrize(
    ("damage", "state"),
    [
        (truncate, "is not a whole Parquet file"),
        (lambda path: path.unlink(), "is gone"),
    ],
    ids=["truncated", "gone"],
)
def test_a_damaged_file_of_events_is_named_and_the_day_comes_again_from_its_raw_log(copied, whole, damage, state):
    program = copied()
    file = program.files(c.EVENTS)[0]
    damage(file)
    again = f"prerank ingest --table events --source ... --input ... --ds {DAY}"
    saying = ["table 'events', 2024-02-28", str(file), state, again]
    program.fails("check", "--table", c.EVENTS, *ONE_DAY, saying=saying)
    program.fails("interactions", "--again", *ONE_DAY, saying=saying)
    # Other days are read as before.
    program.succeeds("check", "--table", c.EVENTS, "--ds", "2024-02-27")
    program.succeeds(*program.ingest(*ONE_DAY))
    program.succeeds("backfill", *WHOLE_RANGE)
    assert tables_of(program) == tables_of(whole)


def test_a_file_that_differs_from_its_checksum_is_named(copied):
    program = copied()
    file = program.files(c.EVENTS)[0]
    checksum = file.with_name(f".{file.name}.crc")
    kept = checksum.read_bytes()
    garble(file)
    checksum.write_bytes(kept)
    program.fails("check", "--table", c.EVENTS, *ONE_DAY, saying=[str(file), "its checksum differs"])


@pytest.mark.parametrize("table", [table_of(1), c.QUERIES_DAILY], ids=["pairs", "queries"])
def test_a_damaged_partial_is_named_and_built_again_from_events(copied, whole, table):
    program = copied()
    file = program.files(table)[0]
    truncate(file)
    program.fails(
        "interactions",
        "--ds",
        "2024-02-29",
        saying=[f"table '{table}', {DAY}", str(file), f"prerank interactions --again --ds {DAY}"],
    )
    assert program.rows(c.INTERACTIONS) == whole.rows(c.INTERACTIONS)
    program.succeeds("interactions", "--again", *ONE_DAY)
    program.succeeds("backfill", *WHOLE_RANGE)
    assert tables_of(program) == tables_of(whole)


def test_a_damaged_day_of_interactions_is_named_by_export_and_built_again(copied, whole, tmp_path):
    program = copied()
    file = program.files(c.INTERACTIONS)[0]
    file.unlink()
    saying = [f"table 'interactions', {DAY}", str(file), "is gone", f"prerank interactions --ds {DAY}"]
    out = tmp_path / "data"
    program.fails("export", "--start-ds", "2024-02-27", "--end-ds", "2024-03-03", "--out", str(out), saying=saying)
    assert not out.exists()
    program.fails("check", "--table", c.INTERACTIONS, *ONE_DAY, saying=saying)
    program.succeeds("interactions", *ONE_DAY)
    assert tables_of(program) == tables_of(whole)


def test_a_damaged_day_of_scores_can_be_dropped_and_scored_again(copied):
    program = copied()
    score = ("score", "--ds", "2024-03-03", "--model", str(program.root / "models" / "two_tower"))
    program.succeeds(*score)
    before = program.rows(c.SCORES)
    file = program.files(c.SCORES, "2024-03-03")[0]
    truncate(file)
    said = program.fails("check", "--table", c.SCORES, "--ds", "2024-03-03", saying=[str(file), "DELETE FROM delta.`"])
    statement = said.err[said.err.index("DELETE FROM") : said.err.index(", and run")]
    program.spark.sql(statement)
    program.succeeds(*score)
    assert program.rows(c.SCORES) == before


def test_a_missing_first_commit_is_named(copied, whole):
    program = copied()
    lost = program.log(c.RUNS)[0]
    kept = lost.read_bytes()
    lost.unlink()
    saying = ["table 'runs'", str(program.lake / "runs/_delta_log"), lost.name, "Restore the entry from a backup"]
    program.fails("plan", *ONE_DAY, saying=saying)
    program.fails("interactions", *ONE_DAY, saying=saying)
    lost.write_bytes(kept)
    program.succeeds("interactions", *ONE_DAY)
    assert tables_of(program) == tables_of(whole)


def test_a_commit_missing_in_the_middle_is_named(copied, whole):
    program = copied()
    program.log(c.RUNS)[1].unlink()
    program.fails("interactions", *ONE_DAY, saying=["table 'runs'", "are not contiguous", "backup"])
    shutil.rmtree(program.lake / c.RUNS)
    assert tables_of(program) == tables_of(whole)
    # Without its records every day counts as never written: made again, it is what it was.
    program.succeeds(*program.ingest())
    program.succeeds("backfill", *WHOLE_RANGE)
    assert tables_of(program) == tables_of(whole)


def test_a_commit_that_is_cut_off_is_named(copied, whole):
    program = copied()
    program.succeeds(*program.ingest(*ONE_DAY))
    entry = program.log(c.EVENTS)[-1]
    kept = entry.read_bytes()
    truncate(entry)
    saying = ["table 'events'", f"{entry.name} is not whole JSON"]
    program.fails("check", "--table", c.EVENTS, *ONE_DAY, saying=saying)
    program.fails("interactions", "--again", *ONE_DAY, saying=saying)
    entry.write_bytes(kept)
    assert tables_of(program) == tables_of(whole)


def test_a_lost_last_commit_makes_its_days_missing_not_fresh(copied, whole):
    program = copied()
    program.succeeds(*program.ingest(*ONE_DAY))
    lost = program.log(c.EVENTS)[-1]
    lost.unlink()
    forget_checksum(lost)
    states = {step["ds"]: step["state"] for step in program.succeeds("plan", *WHOLE_RANGE)["steps"]
              if step["table"] == c.EVENTS}  # fmt: skip
    assert [ds for ds, state in states.items() if state != "fresh"] == [DAY]
    program.fails("interactions", *ONE_DAY, saying=["table 'events' was not built for 2024-02-28", "prerank ingest"])
    program.succeeds(*program.ingest(*ONE_DAY))
    program.succeeds("backfill", *WHOLE_RANGE)
    assert tables_of(program) == tables_of(whole)


def test_a_checkpoint_that_points_nowhere_changes_nothing(copied, whole):
    program = copied()
    for table in (c.RUNS, c.EVENTS):
        (program.lake / table / "_delta_log" / "_last_checkpoint").write_text('{"version":99,"size":5}')
    program.succeeds("interactions", "--again", *ONE_DAY)
    assert tables_of(program) == tables_of(whole)


def test_a_table_whose_log_is_gone_is_no_table(copied):
    program = copied()
    shutil.rmtree(program.lake / c.EVENTS / "_delta_log")
    saying = ["no table 'events'", "prerank ingest --table events"]
    program.fails("interactions", "--again", *ONE_DAY, saying=saying)
