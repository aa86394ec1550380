"""Judging a history needs no Spark; reading it from the lake is at the end."""

import dataclasses
import shutil
from collections.abc import Mapping

import pytest

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.definitions import definition_hash
from etl.errors import LostEventsError, MissingDataError
from etl.interactions import backfill_interactions
from etl.plan import FRESH, MISSING, STALE, Built, lake_plan, plan, read_history, require_source
from etl.runs import DROPPED, Run
from etl.tiles import table_of
from etl.write import Output, replace_partitions
from tests.etl.logs import DAYS, small_config

CONFIG = small_config()
D = ["2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01", "2024-03-02"]
LAST = DateRange(D[-1], D[-1])


def built(table: str, version: int, **inputs: int) -> Built:
    return Built(version, definition_hash(table, CONFIG), inputs)


def history(events: Mapping[str, int] | None = None) -> dict[str, dict[str, Built]]:
    """Everything built once, from version 1 of everything."""
    daily = {table: {ds: built(table, 1, events=1) for ds in D} for table in (c.INTERACTIONS_DAILY, c.QUERIES_DAILY)}
    windows = {ds: built(c.INTERACTIONS, 1, interactions_daily=1) for ds in D}
    return {c.EVENTS: {ds: built(c.EVENTS, 1) for ds in D}, **daily, c.INTERACTIONS: windows}


def states(past, days: DateRange = LAST, config: EtlConfig = CONFIG) -> dict[tuple[str, str], str]:
    """(table, ds) -> state, of what is not fresh."""
    return {(step.table, step.ds): step.state for step in plan(past, config, days) if step.state != FRESH}


def reason(past, table: str, ds: str, config: EtlConfig = CONFIG) -> str:
    [step] = [step for step in plan(past, config, LAST) if (step.table, step.ds) == (table, ds)]
    return step.reason


def test_what_was_built_from_the_newest_inputs_is_fresh():
    assert states(history()) == {}
    steps = plan(history(), CONFIG, LAST)
    assert [(step.table, step.ds) for step in steps] == [
        (c.EVENTS, D[-1]),
        *((c.INTERACTIONS_DAILY, ds) for ds in D),
        *((c.QUERIES_DAILY, ds) for ds in D),
        (c.INTERACTIONS, D[-1]),
    ]


def test_a_lake_without_events_says_that_they_were_never_ingested():
    assert states({}) == {(c.EVENTS, D[-1]): MISSING}
    assert "prerank ingest" in reason({}, c.EVENTS, D[-1])


def test_earlier_days_that_were_never_ingested_do_not_appear():
    past = {c.EVENTS: {D[0]: built(c.EVENTS, 1), D[-1]: built(c.EVENTS, 1)}}
    assert {step.ds for step in plan(past, CONFIG, LAST)} == {D[0], D[-1]}
    assert {step.state for step in plan(past, CONFIG, LAST) if step.table != c.EVENTS} == {MISSING}


def test_a_day_that_was_never_built_is_missing_and_makes_its_windows_stale():
    past = history()
    del past[c.INTERACTIONS_DAILY][D[1]]
    assert states(past) == {(c.INTERACTIONS_DAILY, D[1]): MISSING, (c.INTERACTIONS, D[-1]): STALE}
    assert reason(past, c.INTERACTIONS_DAILY, D[1]) == "never built"
    assert reason(past, c.INTERACTIONS, D[-1]) == f"interactions_daily of {D[1]} will be rebuilt"


def test_a_source_day_that_changed_makes_its_partials_stale_and_then_its_windows():
    past = history()
    past[c.EVENTS][D[0]] = built(c.EVENTS, 2)
    assert states(past) == {
        (c.INTERACTIONS_DAILY, D[0]): STALE,
        (c.QUERIES_DAILY, D[0]): STALE,
        (c.INTERACTIONS, D[-1]): STALE,
    }
    assert reason(past, c.QUERIES_DAILY, D[0]) == f"events of {D[0]} changed: version 2, built from 1"


def test_a_rebuilt_partial_makes_the_windows_that_cover_it_stale():
    past = history()
    past[c.INTERACTIONS_DAILY][D[0]] = built(c.INTERACTIONS_DAILY, 2, events=1)
    assert states(past) == {(c.INTERACTIONS, D[-1]): STALE}
    assert "interactions_daily of 2024-02-27 changed: version 2, built from 1" in reason(past, c.INTERACTIONS, D[-1])


def test_a_window_ends_where_its_days_end():
    past = history()
    past[c.INTERACTIONS][D[-1]] = built(c.INTERACTIONS, 3, interactions_daily=3)
    past[c.EVENTS]["2024-02-26"] = built(c.EVENTS, 9)
    past[c.INTERACTIONS_DAILY]["2024-02-26"] = built(c.INTERACTIONS_DAILY, 9, events=9)
    past[c.QUERIES_DAILY]["2024-02-26"] = built(c.QUERIES_DAILY, 9, events=9)
    assert states(past) == {}


def test_a_later_version_of_other_days_is_no_change():
    past = history()
    past[c.EVENTS]["2024-03-03"] = built(c.EVENTS, 5)
    assert states(past) == {}


def test_a_changed_definition_makes_every_day_of_its_table_stale():
    other = dataclasses.replace(CONFIG, interactions=dataclasses.replace(CONFIG.interactions, min_users=2))
    assert states(history(), LAST, other) == {(c.INTERACTIONS, D[-1]): STALE}
    assert reason(history(), c.INTERACTIONS, D[-1], other) == "its definition changed"
    fewer = dataclasses.replace(CONFIG, events=dataclasses.replace(CONFIG.events, segments=("country",)))
    assert len(states(history(), LAST, fewer)) == 1 + 2 * len(D) + 1
    assert "ingest again" in reason(history(), c.EVENTS, D[-1], fewer)


def test_a_day_of_a_table_that_was_made_anew_counts_by_when_it_was_told():
    past = history()
    past[c.INTERACTIONS_DAILY] = {ds: dataclasses.replace(one, told=2, inputs={c.EVENTS: 40})
                                  for ds, one in past[c.INTERACTIONS_DAILY].items()}  # fmt: skip
    past[c.EVENTS][D[0]] = dataclasses.replace(built(c.EVENTS, 3), told=3, anew=True)
    past[c.EVENTS][D[1]] = dataclasses.replace(built(c.EVENTS, 2), told=1, anew=True)
    assert (c.INTERACTIONS_DAILY, D[0]) in states(past)
    assert (c.INTERACTIONS_DAILY, D[1]) not in states(past)


def test_partials_whose_events_are_gone_serve_as_long_as_their_definition_does():
    past = history()
    del past[c.EVENTS][D[0]]
    assert states(past) == {}
    past[c.QUERIES_DAILY][D[0]] = dataclasses.replace(past[c.QUERIES_DAILY][D[0]], definition_hash="another")
    assert states(past) == {(c.QUERIES_DAILY, D[0]): STALE}
    assert "its events are gone" in reason(past, c.QUERIES_DAILY, D[0])


def test_a_record_without_its_inputs_is_stale():
    past = history()
    past[c.INTERACTIONS][D[-1]] = built(c.INTERACTIONS, 1)
    assert states(past) == {(c.INTERACTIONS, D[-1]): STALE}


@pytest.mark.spark
def test_a_lake_that_was_just_built_is_fresh_throughout(built):
    steps = lake_plan(built.lake(), built.config, DAYS)
    assert {step.state for step in steps} == {FRESH}
    assert len(steps) == 4 * len(DAYS)


@pytest.mark.spark
def test_history_holds_the_last_write_of_each_day_with_its_inputs(built):
    past = read_history(built.lake(), (c.EVENTS, c.INTERACTIONS))
    lake = built.lake()
    assert set(past[c.EVENTS]) == set(past[c.INTERACTIONS]) == set(DAYS)
    day = past[c.INTERACTIONS]["2024-02-29"]
    assert day.definition_hash == definition_hash(c.INTERACTIONS, built.config)
    assert day.inputs == {c.INTERACTIONS_DAILY: lake.version(c.INTERACTIONS_DAILY)}
    # The log's own path is an input without a version.
    assert past[c.EVENTS]["2024-02-29"].inputs == {}


@pytest.mark.spark
@pytest.mark.parametrize(
    ("lost", "table"), [("interactions_tiles_1", c.INTERACTIONS_DAILY), (c.QUERY_ITEMS, c.INTERACTIONS)]
)
def test_days_whose_other_half_is_lost_count_as_never_built(built, copied, lost, table):
    lake, config = copied()
    shutil.rmtree(lake.path(lost))
    steps = [step for step in lake_plan(lake, config, LAST) if step.table == table]
    assert {step.state for step in steps} == {MISSING}
    assert set(read_history(lake, (c.EVENTS, c.QUERIES_DAILY))[c.QUERIES_DAILY]) == set(DAYS)


@pytest.mark.spark
def test_a_day_whose_other_half_is_of_another_run_counts_as_never_built(built, copied):
    lake, config = copied()
    day, other = DateRange(D[1], D[1]), table_of(1)
    run = Run("interactions", "config", "another definition")
    replace_partitions(lake, [Output(other, lake.read(other, day), day, ("bucket",), placed=True)], run)
    missing = [step.ds for step in lake_plan(lake, config, LAST) if step.state == MISSING]
    assert missing == [D[1]]


@pytest.mark.spark
def test_what_was_built_from_a_former_life_of_its_source_is_stale(built, copied):
    lake, config = copied()
    day, seen = DateRange(D[1], D[1]), lake.version(c.EVENTS)
    frame = lake.spark.createDataFrame([(D[1], "q")], "ds string, query_key string")
    shutil.rmtree(lake.path(c.EVENTS))
    lake.refresh(c.EVENTS)
    run = Run("ingest", "config", definition_hash(c.EVENTS, config))
    [written] = replace_partitions(lake, [Output(c.EVENTS, frame, day, ("query_key",))], run)
    assert written.version <= seen
    stale = {(step.table, step.ds) for step in lake_plan(lake, config, LAST) if step.state == STALE}
    assert {(table, D[1]) for table in (c.INTERACTIONS_DAILY, c.QUERIES_DAILY)} <= stale


@pytest.mark.spark
def test_partials_are_not_built_from_events_that_are_gone(built, copied):
    lake, config = copied()
    dropped = Run("maintain", "config", outcome=DROPPED)
    first = DateRange(D[0], D[0])
    replace_partitions(lake, [Output(c.EVENTS, lake.read(c.EVENTS).limit(0), first, ("event_id",))], dropped)
    other = dataclasses.replace(config, events=dataclasses.replace(config.events, segments=("country",)))
    days = DateRange(D[1], D[-1])
    for ds in days:
        run = Run("ingest", "config", definition_hash(c.EVENTS, other))
        same = DateRange(ds, ds)
        replace_partitions(lake, [Output(c.EVENTS, lake.read(c.EVENTS, same), same, ("event_id",))], run)
    before = lake.read(c.QUERIES_DAILY).count()
    with pytest.raises(LostEventsError, match=f"{D[0]}.*ingest --table events"):
        backfill_interactions(lake, other, LAST)
    lake.refresh(c.QUERIES_DAILY)
    assert lake.read(c.QUERIES_DAILY).count() == before


@pytest.mark.spark
def test_a_table_that_was_made_anew_holds_only_what_was_written_since(built, copied):
    lake, config = copied(c.EVENTS, c.RUNS)
    shutil.rmtree(lake.path(c.EVENTS))
    for number, ds in enumerate(D[:2]):
        run = Run("ingest", "config", definition_hash(c.EVENTS, config))
        frame = lake.spark.createDataFrame([(ds, "q")], "ds string, query_key string")
        replace_partitions(lake, [Output(c.EVENTS, frame, DateRange(ds, ds), ("query_key",))], run)
        assert sorted(read_history(lake, (c.EVENTS,))[c.EVENTS]) == D[: number + 1]


@pytest.mark.spark
def test_a_source_must_be_there_but_a_day_without_events_is(built, spark, tmp_path):
    from etl.lake import Lake

    require_source(built.lake(), c.EVENTS, DAYS)
    with pytest.raises(MissingDataError, match=r"2024-03-04..2024-03-05"):
        require_source(built.lake(), c.EVENTS, DAYS.widen(after=2))
    with pytest.raises(MissingDataError, match="no table 'events'"):
        require_source(Lake(spark, str(tmp_path)), c.EVENTS, DAYS)
    assert read_history(Lake(spark, str(tmp_path)), (c.EVENTS,)) == {c.EVENTS: {}}
