"""Logs of which 0.1 % to 50 % of the rows are bad: each row is an event or a refusal, and too many stop the day."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from etl.config import EtlConfig, EventsConfig, LakeConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.ingest import ingest_events
from etl.lake import Lake
from etl.sources import get_source
from scoring.main import main
from tests.etl.hostile_logs import DAYS, FIRST, ROWS_PER_DAY, SHARES, SOURCES, hostile_log, write_log
from tests.etl.logs import contents

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module", params=SOURCES)
def ingested(request, spark, tmp_path_factory):
    """(the log, the lake, the report) of one source, all days in one ingest."""
    source, root = request.param, tmp_path_factory.mktemp(request.param)
    log = hostile_log(source)
    path = write_log(source, log, root / "raw")
    events = EventsConfig(segments=("country",), max_reject_share=0.6)
    config = EtlConfig(lake=LakeConfig(str(root / "lake")), events=events)
    reader = "parquet" if source == "simulated" else source
    raw = get_source(reader).read(spark, str(path), c.EVENTS, {}, date_range=DAYS)
    lake = Lake(spark, config.lake.root)
    return log, lake, ingest_events(lake, raw, config, DAYS, str(path))


@pytest.fixture(scope="module")
def counted(ingested):
    """(ds, reason or None) -> rows, of both tables."""
    _, lake, _ = ingested
    events = lake.read(c.EVENTS).groupBy("ds").count().collect()
    refused = lake.read(c.EVENTS_REJECTED).groupBy("ds", "reason").count().collect()
    return Counter({(row.ds, None): row["count"] for row in events}) + Counter(
        {(row.ds, row.reason): row["count"] for row in refused}
    )


@pytest.mark.parametrize("share", SHARES)
def test_a_day_holds_its_good_rows_and_each_bad_one_under_its_reason(ingested, counted, share):
    ds = shift_ds(FIRST, SHARES.index(share))
    expected = {reason: rows for (of, reason), rows in ingested[0].expected.items() if of == ds}
    assert {reason: rows for (of, reason), rows in counted.items() if of == ds} == expected


def test_every_row_is_an_event_or_a_refusal(ingested, counted):
    log, lake, report = ingested
    assert sum(counted.values()) == len(log.rows) == ROWS_PER_DAY * len(SHARES)
    assert report.in_range == len(log.rows) == report.events + sum(report.rejected.values())
    [run] = [row for row in lake.read(c.RUNS).collect() if row.table == c.EVENTS]
    assert (run.rows_in, run.rows_out, run.rows_rejected) == (
        len(log.rows), report.events, sum(report.rejected.values())
    )  # fmt: skip


def test_positions_that_are_none_are_unknown_and_ids_stay_as_they_were_written(ingested):
    _, lake, _ = ingested
    assert lake.read(c.EVENTS).where("position < 0").count() == 0
    known = {row.item_id for row in lake.read(c.EVENTS).select("item_id").distinct().collect()}
    assert {"../../etc/passwd", '=HYPERLINK("http://x")`\'${7*7}'} <= known


def test_a_refused_row_can_be_read_back_as_it_came(ingested):
    _, lake, _ = ingested
    rows = lake.read(c.EVENTS_REJECTED).collect()
    assert {row.action for row in rows if row.reason == "unknown_action"} >= {"click'; DROP TABLE events; --"}
    assert {row.ts for row in rows if row.reason == "bad_timestamp"} >= {"soon", "10:00:00"}
    # A line that was half a line has no columns.
    assert {row["a_b_c__d_e__"] for row in rows} - {None} == {"kept"}


@pytest.mark.parametrize(("share", "stops"), [(0.1, False), (0.101, True), (0.5, True)])
def test_above_the_share_the_gate_stops_the_day_and_readers_see_what_they_saw(
    spark, tmp_path, monkeypatch, capsys, share, stops
):
    """At max_reject_share 0.1, after a clean day and a clean first try of the bad one."""
    monkeypatch.setattr("etl.session.spark_session", lambda *_: spark)
    days = DateRange(FIRST, shift_ds(FIRST, 1))
    clean, bad = (write_log("json", _log(second), tmp_path / f"share-{second}") for second in (0.0, share))
    common = ["--set", f"lake.root={tmp_path / 'lake'}", "--set", "events.max_reject_share=0.1", "--json"]
    ingest = ["ingest", "--source", "json", "--start-ds", days.start, "--end-ds", days.end, *common, "--input"]
    assert main([*ingest, str(clean)]) == 0
    before = _seen(spark, tmp_path)
    assert main([*ingest, str(bad)]) == (3 if stops else 0)
    error = capsys.readouterr().err
    assert (_seen(spark, tmp_path) == before) == stops
    assert main(["runs", "--last", "1", *common]) == 0
    [last] = json.loads(capsys.readouterr().out.strip().splitlines()[-1])["runs"]
    if not stops:
        assert last["status"] == "succeeded"
        return
    for said in (error, last["error"]):
        assert f"({days.end}: {share:g}, of that unknown_action " in said
        assert ", missing_key 1)" in said
    assert (last["status"], last["output_version"], last["table"]) == ("failed", None, c.EVENTS)


def _log(share):
    """Two days, bad rows on the second only, all but one of one kind."""
    log = hostile_log("json", (0.0, 0.0))
    bad = round(ROWS_PER_DAY * share)
    rows = [row for _, row in log.rows]
    for number in range(max(bad - 1, 0)):
        rows[ROWS_PER_DAY + number] = rows[ROWS_PER_DAY + number] | {"action": "hover"}
    if bad:
        rows[-1] = rows[-1] | {"item_id": None}
    return replace(log, rows=[(day, row) for (day, _), row in zip(log.rows, rows, strict=True)])


def _seen(spark, tmp_path):
    """What a reader who comes now sees of both tables."""
    lake = Lake(spark, str(tmp_path / "lake"))
    return [contents(lake.read(table)) for table in (c.EVENTS, c.EVENTS_REJECTED)]
