"""What a newer version wrote, or an older one: named, with who wrote it, and left as it is."""

import json

import pytest
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.manifest import FILE, FORMAT_VERSION
from models.model_dir import CARD
from scoring.item_matrix import MANIFEST
from tests.faults.program import ONE_DAY, WHOLE_RANGE, forget_checksum
from tests.models.export_fixture import World, write_export

pytestmark = [pytest.mark.faults, pytest.mark.spark, pytest.mark.slow]

FEATURE = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["foldedRows"],
           "writerFeatures": ["foldedRows"]}  # fmt: skip
FUTURE = {**FEATURE, "minReaderVersion": 9, "minWriterVersion": 9}
UNHEARD_OF = {"minReaderVersion": 9, "minWriterVersion": 9}
NEW_WRITER = {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["foldedRows"]}


def set_protocol(program, table, protocol):
    """As if a Delta of the future had made the table."""
    entry = program.log(table)[0]
    actions = [json.loads(line) for line in entry.read_text().splitlines()]
    for action in actions:
        if "protocol" in action:
            action["protocol"] = protocol
        if "commitInfo" in action:
            action["commitInfo"]["engineInfo"] = "Apache-Spark/6.0 Delta-Lake/9.0"
    entry.write_text("".join(json.dumps(action) + "\n" for action in actions))
    forget_checksum(entry)
    # The checksums of states name the protocol too.
    for state in entry.parent.glob("*.crc"):
        state.unlink()
        forget_checksum(state)


def rewrite(program, table, change):
    """The table with other columns, in one commit of its own."""
    frame = change(program.spark.read.format("delta").load(str(program.lake / table)))
    writer = frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").partitionBy("ds")
    writer.save(str(program.lake / table))


def set_format(path, number):
    plain = json.loads(path.read_text())
    path.write_text(json.dumps(plain | {"format_version": number, "unheard_of": 1}))


@pytest.mark.parametrize("protocol", [FEATURE, FUTURE, UNHEARD_OF], ids=["feature", "version", "version-only"])
def test_a_table_of_a_newer_delta_is_named_and_left_alone(copied, protocol):
    program = copied()
    set_protocol(program, c.INTERACTIONS, protocol)
    log = {path.name: path.read_bytes() for path in program.log(c.INTERACTIONS)}
    saying = ["table 'interactions'", str(program.lake / c.INTERACTIONS), "newer version", "Delta-Lake/", "lake.root"]
    program.fails("check", "--table", c.INTERACTIONS, *ONE_DAY, saying=saying)
    program.fails("interactions", *ONE_DAY, saying=saying)
    assert {path.name: path.read_bytes() for path in program.log(c.INTERACTIONS)} == log


def test_a_table_that_only_a_newer_delta_may_write_is_still_read(copied, whole):
    program = copied()
    set_protocol(program, c.INTERACTIONS, NEW_WRITER)
    program.succeeds("check", "--table", c.INTERACTIONS, *ONE_DAY)
    saying = ["table 'interactions'", "newer version", "foldedRows", "Delta-Lake/"]
    program.fails("interactions", *ONE_DAY, saying=saying)
    assert program.rows(c.INTERACTIONS) == whole.rows(c.INTERACTIONS)


def test_late_files_do_not_drop_the_columns_of_a_newer_version(copied):
    program = copied()
    rewrite(program, c.EVENTS, lambda frame: frame.withColumn("dwell_seconds", F.lit(7)))
    before = program.rows(c.EVENTS)
    saying = ["table 'events'", "this version would drop: dwell_seconds", "a newer version of prerank wrote it"]
    program.fails(*program.ingest(*WHOLE_RANGE, "--append"), saying=saying)
    assert program.rows(c.EVENTS) == before
    # What reads events needs none of its columns.
    program.succeeds("interactions", "--again", *ONE_DAY)


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [
        (c.EVENTS, "segments", ("interactions", "--again", *ONE_DAY)),
        (c.RUNS, "definition_hash", ("plan", *ONE_DAY)),
    ],
)
def test_a_table_of_an_older_version_is_named_with_what_it_lacks(copied, table, column, words):
    program = copied()
    rewrite(program, table, lambda frame: frame.drop(column))
    before = program.rows(table)
    saying = [f"table '{table}'", f"has no column {column}", "an older version of prerank wrote it"]
    program.fails(*words, saying=saying)
    assert program.rows(table) == before


def test_a_column_of_another_type_is_named(copied):
    program = copied()
    rewrite(program, c.EVENTS, lambda frame: frame.withColumn("position", F.col("position").cast("string")))
    before = program.rows(c.EVENTS)
    program.fails(*program.ingest(), saying=[str(program.lake), "column 'position'", "another type"])
    assert program.rows(c.EVENTS) == before


def test_an_export_of_a_newer_version_is_named_and_kept(copied, tmp_path):
    program = copied()
    data = write_export(tmp_path / "data", World(requests=(20, 5, 5)))
    set_format(data / FILE, 99)
    before = (data / FILE).read_bytes()
    formats = f"format 99, this program reads {FORMAT_VERSION}"
    saying = [str(data / FILE), formats, "newer version of prerank", "Export again"]
    program.fails("train", "--data", str(data), "--model", "two_tower", "--out", str(tmp_path / "m"), saying=saying)
    program.fails("evaluate", "--data", str(data), "--models", "bm25", saying=saying)
    assert (data / FILE).read_bytes() == before


def test_a_model_of_a_newer_version_is_named_with_the_version_that_wrote_it(copied):
    program = copied()
    model = program.root / "models" / "two_tower"
    set_format(model / CARD, 99)
    saying = [str(model / CARD), "format 99, this program reads 1", "newer version of prerank", "Written by"]
    program.fails("score", "--ds", "2024-03-03", "--model", str(model), saying=saying)
    assert not (program.lake / c.SCORES).exists()


def test_item_vectors_of_a_newer_version_are_named_and_kept(copied):
    program = copied()
    embed = ("embed", "--ds", "2024-03-03", "--model", str(program.root / "models" / "two_tower"))
    [manifest] = [program.root / "vectors" / done["model_version"] / done["as_of"] / MANIFEST
                  for done in [program.succeeds(*embed)]]  # fmt: skip
    set_format(manifest, 99)
    before = manifest.read_bytes()
    saying = [str(manifest), "format 99, this program reads 1", "score.vectors_root"]
    program.fails(*embed, saying=saying)
    assert manifest.read_bytes() == before
    assert program.succeeds(*embed, "--set", f"score.vectors_root={program.root / 'other'}")["items"] == 5
