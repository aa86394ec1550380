"""Full disks and disks that refuse: what stood stands, the message names the place, a rerun is as if nothing was."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from etl.config import SparkConfig
from etl.contract import columns as c
from etl.contract.manifest import read_manifest
from models.model_dir import read_card
from scoring.item_matrix import MatrixPart, open_matrix, write_matrix
from tests.faults.disks import fill, grow, read_only, small_disk
from tests.faults.program import ONE_DAY, WHOLE_RANGE
from tests.models.export_fixture import World, write_export

pytestmark = [pytest.mark.faults, pytest.mark.spark, pytest.mark.slow]

TABLES = (c.EVENTS, c.EVENTS_REJECTED, c.INTERACTIONS_DAILY, c.QUERIES_DAILY, c.INTERACTIONS)
FULL = ["no space left on a disk", "free now: ", "run the same command again"]
REFUSED = ["cannot be written (", "run the same command again"]


def tables_of(program):
    return {table: program.rows(table) for table in TABLES}


@pytest.mark.parametrize("size", ["200k", "1500k"])
def test_an_ingest_that_fills_the_disk_can_be_run_again(copied, whole, tmp_path, size):
    with small_disk(tmp_path / "disk", size) as disk:
        program = copied()
        program = replace(program, config=replace(program.config, lake=replace(program.config.lake, root=str(disk))))
        program.fails(*program.ingest(), saying=[*FULL, f"lake.root {disk}"])
        grow(disk, "64m")
        program.succeeds(*program.ingest())
        for table in (c.EVENTS, c.EVENTS_REJECTED):
            assert program.spark.read.format("delta").load(f"{disk}/{table}").count() == len(whole.rows(table))


@pytest.mark.parametrize("leaving", [0, 100_000])
def test_a_full_lake_keeps_what_it_holds(copied, whole, tmp_path, leaving):
    with small_disk(tmp_path / "disk", "40m") as disk:
        program = copied(disk / "copy")
        program.configured()
        filler = fill(disk, leaving)
        program.fails("interactions", "--again", *WHOLE_RANGE, saying=[*FULL, f"lake.root {program.lake}"])
        assert tables_of(program) == tables_of(whole)
        program.fails(*program.ingest(), saying=FULL)
        filler.unlink()
        program.succeeds(*program.ingest())
        program.succeeds("interactions", "--again", *WHOLE_RANGE)
        assert tables_of(program) == tables_of(whole)


def test_a_full_local_dir_of_spark_stops_the_job_with_its_name(copied, whole, tmp_path):
    program = copied()
    with small_disk(tmp_path / "disk", "100k") as disk:
        conf = program.config.spark.conf | {"spark.local.dir": str(disk), "spark.master": "local[2]"}
        full = replace(program, config=replace(program.config, spark=SparkConfig(conf=conf)))
        words = [sys.executable, "-m", "scoring.main", "interactions", "--again", *WHOLE_RANGE]
        done = subprocess.run([*words, "--config", str(full.configured())], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert [word for word in (*FULL, f"spark.local.dir {disk}") if word not in done.stderr] == [], done.stderr
    assert "Traceback" not in done.stderr
    assert "\tat " not in done.stderr
    assert tables_of(program) == tables_of(whole)


def test_an_export_to_a_full_disk_leaves_the_one_before(copied, tmp_path):
    program = copied()
    with small_disk(tmp_path / "disk", "4m") as disk:
        out = disk / "data"
        shorter = ("export", "--start-ds", "2024-02-28", "--end-ds", "2024-03-03", "--out", str(out))
        longer = ("export", "--start-ds", "2024-02-27", "--end-ds", "2024-03-03", "--out", str(out))
        program.succeeds(*shorter)
        before = read_manifest(out)
        filler = fill(disk)
        program.fails(*longer, saying=[*FULL, f"--out {out}"])
        assert read_manifest(out) == before
        assert sorted(path.name for path in disk.iterdir()) == ["data", "filler"]
        filler.unlink()
        again = program.succeeds(*longer)
        elsewhere = program.succeeds(*longer[:-1], str(tmp_path / "whole"))
        assert again | {"out": ""} == elsewhere | {"out": ""}
        assert read_manifest(out) == read_manifest(tmp_path / "whole")


def test_a_model_that_does_not_fit_leaves_the_one_before(copied, tmp_path):
    program = copied()
    data = write_export(tmp_path / "data", World(requests=(60, 20, 20)))
    settings = ("--set", "train.epochs=1", "--set", "train.batch_requests=16")
    with small_disk(tmp_path / "disk", "4m") as disk:
        train = ("train", "--data", str(data), "--model", "two_tower", "--out", str(disk / "model"), *settings)
        program.succeeds(*train)
        before = read_card(disk / "model")
        filler = fill(disk)
        program.fails(*train, "--set", "train.seed=9", saying=[*FULL, f"--out {disk / 'model'}"])
        assert read_card(disk / "model") == before
        filler.unlink()
        program.succeeds(*train, "--set", "train.seed=9")
        assert read_card(disk / "model").version != before.version


def test_item_vectors_on_a_full_disk_are_made_when_there_is_room(copied, tmp_path):
    program = copied()
    with small_disk(tmp_path / "disk", "4m") as disk:
        score = replace(program.config.score, vectors_root=str(disk / "vectors"))
        program = replace(program, config=replace(program.config, score=score))
        embed = ("embed", "--ds", "2024-03-03", "--model", str(program.root / "models" / "two_tower"))
        filler = fill(disk)
        program.fails(*embed, saying=[*FULL, f"score.vectors_root {disk / 'vectors'}"])
        filler.unlink()
        done = program.succeeds(*embed)
        assert done["items"] == len(open_matrix(disk / "vectors" / done["model_version"] / done["as_of"])) == 5


def test_a_matrix_that_does_not_fit_is_an_error_and_no_crash(tmp_path):
    rows, width = 4096, 64
    ids = pa.array([f"i{number:04d}" for number in range(rows)])
    part = MatrixPart(
        ids,
        np.arange(rows),
        np.zeros((rows, 1), dtype=np.int32),
        np.ones((rows, width), dtype=np.float32),
    )
    with small_disk(tmp_path / "disk", "600k") as disk:
        with pytest.raises(OSError, match="No space left on device"):
            write_matrix(disk / "matrix", [part], rows, width, rows, ("model", "2024-03-03", "digest"))
        assert list(disk.iterdir()) == []


@pytest.mark.parametrize("below", ["", c.INTERACTIONS])
def test_a_lake_that_cannot_be_written_is_read_as_ever(copied, whole, below):
    program = copied()
    with read_only(program.lake / below):
        assert tables_of(program) == tables_of(whole)
        program.succeeds("plan", *WHOLE_RANGE)
        program.fails("interactions", *ONE_DAY, saying=[*REFUSED, str(program.lake / below)])
        assert tables_of(program) == tables_of(whole)
    program.succeeds(*program.ingest())
    program.succeeds("backfill", *WHOLE_RANGE)
    assert tables_of(program) == tables_of(whole)


def test_a_folder_for_exports_that_cannot_be_written_is_named(copied, tmp_path):
    program = copied()
    (tmp_path / "shelf").mkdir()
    out = tmp_path / "shelf" / "data"
    words = ("export", "--start-ds", "2024-02-27", "--end-ds", "2024-03-03", "--out", str(out))
    with read_only(tmp_path / "shelf"):
        program.fails(*words, saying=[*REFUSED, str(tmp_path / "shelf")])
    assert os.listdir(tmp_path / "shelf") == []
    assert program.succeeds(*words)["out"] == str(out)
