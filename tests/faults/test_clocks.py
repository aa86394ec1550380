"""Zones of machines, hours that a day has twice or not at all, and clocks that are wrong: no value depends on them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl import runs
from etl.config import LakeConfig, SparkConfig
from etl.contract import columns as c
from scoring.config import PrerankConfig
from tests.etl.logs import RAW_COLUMNS, raw_row, sample_log
from tests.faults.program import DAY, ONE_DAY, WHOLE_RANGE, Program, write_raw

pytestmark = [pytest.mark.faults, pytest.mark.spark]

#: New York loses the hour from 02:00 on the first day, 07:00 UTC, and has the one from 01:00 twice on the second.
SPRING, AUTUMN = "2024-03-10", "2024-11-03"
#: Several verbs in one process, so that Spark starts once.
SEVERAL = "import json, sys; from scoring.main import main; sys.exit(max(map(main, json.loads(sys.argv[1]))))"


def log_of(day):
    """An event every ten minutes, as text without a zone, with one, and as a number."""
    midnight = datetime.fromisoformat(day).replace(tzinfo=UTC)
    rows = []
    for number in range(-3, 24 * 6 + 3):
        at = midnight + timedelta(minutes=10 * number, seconds=1)
        spelled = (
            at.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" "),
            at.astimezone(datetime.fromisoformat("2024-01-01T00:00:00-05:00").tzinfo).isoformat(),
            str(int(at.timestamp() * 1000)),
        )[number % 3]
        rows.append(raw_row(spelled, request_id=f"{day}-{number // 4}", item_id=f"i{number % 5}", user_id=f"u{number}"))
        if number % 4 == 0:
            rows.append(rows[-1] | {"action": "click"})
    return rows


def write_kind(path, kind, rows):
    """As text; as instants, Parquet's type with a zone; or as its type without one, of times that are UTC."""
    if kind == "text":
        write_raw(path, rows)
        return
    when = [_instant(row["ts"]) for row in rows]
    zoned = pa.array(when, pa.timestamp("us", "UTC"))
    naive = pa.array([at.astimezone(UTC).replace(tzinfo=None) for at in when], pa.timestamp("us"))
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in RAW_COLUMNS if name != "ts"}
    pq.write_table(pa.table(columns | {"ts": zoned if kind == "zoned" else naive}), path)


def _instant(text):
    if text.isdigit():
        return datetime.fromtimestamp(int(text) / 1000, UTC)
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def jobs(day, raw):
    span = ("--ds", day)
    return [("ingest", "--source", "parquet", "--input", str(raw), *span), ("interactions", *span)]


def lake_in(program, folder, **conf):
    spark = replace(program.config.spark, conf=program.config.spark.conf | conf)
    lake = replace(program.config.lake, root=str(folder / "lake"))
    return replace(program, root=folder, config=replace(program.config, lake=lake, spark=spark))


@pytest.fixture(scope="module")
def in_utc(whole, tmp_path_factory):
    """(day, kind of raw log) -> the raw log, and the lake that this session, whose zone is UTC, makes of it."""
    folder = tmp_path_factory.mktemp("utc")
    made = {}
    for day, kind in ((SPRING, "text"), (AUTUMN, "text"), (SPRING, "zoned"), (AUTUMN, "naive")):
        raw = folder / f"{day}-{kind}.parquet"
        write_kind(raw, kind, log_of(day))
        made[day, kind] = raw, lake_in(whole, folder / f"{day}-{kind}")
        for words in jobs(day, raw):
            made[day, kind][1].succeeds(*words)
    return made


@pytest.mark.slow
def test_texts_and_instants_of_one_moment_are_one_event(in_utc):
    for day, kind in ((SPRING, "zoned"), (AUTUMN, "naive")):
        texts, instants = (in_utc[day, one][1].rows(c.EVENTS) for one in ("text", kind))
        assert texts == instants
        # 144 moments of the day, a click to every fourth of them; the hours around the change are all there.
        assert len(texts) == 144 + 36


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "Pacific/Kiritimati"])
def test_a_machine_in_another_zone_makes_the_same_tables(in_utc, tmp_path, zone):
    lakes, commands = {}, []
    for (day, kind), (raw, one) in in_utc.items():
        lakes[day, kind] = lake_in(one, tmp_path / f"{day}-{kind}", **{"spark.master": "local[2]"})
        file = lakes[day, kind].configured()
        commands += [[*words, "--config", str(file)] for words in jobs(day, raw)]
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, json.dumps(commands)],
        env=os.environ | {"TZ": zone, "JAVA_TOOL_OPTIONS": f"-Duser.timezone={zone}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for key, lake in lakes.items():
        for table in (c.EVENTS, c.EVENTS_REJECTED, c.INTERACTIONS_DAILY, c.QUERIES_DAILY, c.INTERACTIONS):
            assert lake.rows(table) == in_utc[key][1].rows(table)


def test_a_session_in_another_zone_is_refused(spark, tmp_path):
    lake, conf = LakeConfig(str(tmp_path / "lake")), {"spark.sql.session.timeZone": "Asia/Kolkata"}
    wrong = Program(spark, tmp_path / "wrong", PrerankConfig(lake=lake, spark=SparkConfig(conf=conf)))
    wrong.fails("interactions", *ONE_DAY, code=2, saying=["spark.sql.session.timeZone", "Asia/Kolkata", "UTC"])


@pytest.mark.slow
@pytest.mark.parametrize("year", [1971, 2099])
def test_a_wrong_clock_changes_no_value_and_no_plan(copied, whole, monkeypatch, year):
    program = copied()
    monkeypatch.setattr(runs, "wall_clock", lambda: datetime(year, 5, 17, tzinfo=UTC))
    rows = [row for row in sample_log() if not row["ts"].startswith(f"{DAY}T1")]
    for file in (program.root / "raw").iterdir():
        file.unlink()
    write_raw(program.root / "raw" / "fewer.parquet", rows)
    # Under the wrong clock the day comes with fewer rows, and is built; then it comes whole, by the right clock.
    program.succeeds(*program.ingest())
    program.succeeds("interactions", *WHOLE_RANGE)
    assert program.rows(c.INTERACTIONS) != whole.rows(c.INTERACTIONS)
    monkeypatch.undo()
    write_raw(program.root / "raw" / "fewer.parquet", sample_log())
    program.succeeds(*program.ingest())
    program.succeeds("backfill", *WHOLE_RANGE)
    for table in (c.EVENTS, c.INTERACTIONS_DAILY, c.INTERACTIONS):
        assert program.rows(table) == whole.rows(table)
    # And the other way round.
    monkeypatch.setattr(runs, "wall_clock", lambda: datetime(year, 5, 17, tzinfo=UTC))
    write_raw(program.root / "raw" / "fewer.parquet", rows)
    program.succeeds(*program.ingest())
    program.succeeds("backfill", *WHOLE_RANGE)
    assert program.rows(c.INTERACTIONS) != whole.rows(c.INTERACTIONS)
    assert {step["state"] for step in program.succeeds("plan", *WHOLE_RANGE)["steps"]} == {"fresh"}
