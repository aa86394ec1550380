from dataclasses import replace
from pathlib import Path

import pytest

import etl.forget
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.forget import forget_user
from etl.interactions import backfill_interactions
from etl.lake import Lake
from etl.plan import FRESH, lake_plan
from etl.write import replace_partitions
from tests.etl.logs import DAYS, contents

pytestmark = pytest.mark.spark


def test_a_forgotten_user_is_in_no_table_and_what_they_touched_is_to_be_rebuilt(built, copied):
    lake, config = copied()
    others = contents(lake.read(c.EVENTS).where("user_id <> '007'"))
    gone = lake.read(c.EVENTS).where("user_id = '007'")
    days, rows = sorted({row.ds for row in gone.collect()}), gone.count()
    done = forget_user(lake, config, "007")
    assert (done.rows, rows > 0) == (rows, True)
    assert {one.table for one in done.written} == {c.EVENTS}
    assert contents(lake.read(c.EVENTS)) == others
    assert done.rebuild == [DateRange(days[0], DAYS.end)]
    stale = {(step.table, step.ds) for step in lake_plan(lake, config, DAYS) if step.state != FRESH}
    assert {ds for table, ds in stale if table == c.INTERACTIONS_DAILY} == set(days)
    assert (c.EVENTS, days[0]) not in stale
    backfill_interactions(lake, config, done.rebuild[0])
    assert {step.state for step in lake_plan(lake, config, DAYS)} == {FRESH}


def test_a_killed_one_names_every_day_when_it_is_run_again(built, copied, monkeypatch):
    lake, config = copied()
    config = replace(config, interactions=replace(config.interactions, days_per_job=1))
    days = sorted({row.ds for row in lake.read(c.EVENTS).where("user_id = '007'").collect()})
    calls = []

    def killed(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return replace_partitions(*args)

    with monkeypatch.context() as patched:
        patched.setattr(etl.forget, "replace_partitions", killed)
        with pytest.raises(KeyboardInterrupt):
            forget_user(lake, config, "007")
    done = forget_user(Lake(lake.spark, lake.root), config, "007")
    assert [one.days.start for one in done.written] == days[1:] != []
    assert done.rebuild == [DateRange(days[0], DAYS.end)]
    again = forget_user(Lake(lake.spark, lake.root), config, "007")
    assert (again.written, again.rebuild) == ([], done.rebuild)


def test_what_score_has_kept_aside_goes_too(built, copied):
    lake, config = copied(c.EVENTS, c.RUNS)
    part = Path(lake.root) / "_scoring" / DAYS.end / "part-0.parquet"
    part.parent.mkdir(parents=True)
    part.write_text("user ids")
    forget_user(lake, config, "nobody")
    assert not part.parents[1].exists()


def test_forgetting_again_or_somebody_unknown_writes_nothing(built, copied):
    lake, config = copied(c.EVENTS, c.EVENTS_REJECTED, c.RUNS)
    version = lake.version(c.EVENTS)
    done = forget_user(lake, config, "nobody")
    assert (done.written, done.rows, done.rebuild) == ([], 0, [])
    lake.refresh(c.EVENTS)
    assert lake.version(c.EVENTS) == version


def test_refused_rows_go_too(built, copied):
    lake, config = copied(c.EVENTS, c.EVENTS_REJECTED, c.RUNS)
    assert lake.read(c.EVENTS_REJECTED).where("user_id = 'bot'").count() == 25
    done = forget_user(lake, config, "bot")
    assert done.rows == 25
    assert lake.read(c.EVENTS_REJECTED).where("user_id = 'bot'").count() == 0
    assert lake.read(c.EVENTS_REJECTED).count() > 0
