import dataclasses
import pickle
import sys
import threading

import pytest
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.definitions import definition_hash
from etl.errors import GateError, MissingDataError
from etl.quality.checks import check_table
from etl.quality.gate import gate, load_ahead
from etl.runs import Run
from etl.write import Output, replace_partitions
from tests.etl.logs import small_config

GOOD = {"ds": "2024-02-28", "rows": 5, "missing_keys": 0, "repeated_ids": 0, "unknown_actions": 0, "outside_day": 0,
        "reject_share": 0.5}  # fmt: skip


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return small_config(tmp_path_factory.mktemp("gate") / "lake")


def test_kept_promises_are_listed(config):
    kept = gate(c.EVENTS, [GOOD], config)
    assert [entry["kept"] for entry in kept] == [True] * 5
    assert {entry["column"] for entry in kept} == GOOD.keys() - {"ds", "rows"}


def test_broken_promises_are_named_with_their_days_and_documented(config):
    bad = GOOD | {"ds": "2024-02-29", "missing_keys": 2, "reject_share": 0.75}
    with pytest.raises(GateError) as caught:
        gate(c.EVENTS, [GOOD, bad], config)
    assert len(caught.value.failures) == 2
    assert "2024-02-29: 2)" in caught.value.failures[0]
    assert "2024-02-28" not in str(caught.value)
    assert caught.value.exit_code == 3
    with open(caught.value.docs, encoding="utf-8") as page:
        assert "html" in page.read(2000).lower()
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_profile_without_days_breaks_nothing(config):
    assert len(gate(c.EVENTS, [], config)) == 5


@pytest.mark.spark
def test_a_table_is_checked_as_it_stands(built, tmp_path):
    config = dataclasses.replace(built.config, lake=dataclasses.replace(built.config.lake, root=str(tmp_path / "docs")))
    days = DateRange("2024-02-28", "2024-02-29")
    assert len(check_table(built.lake(), c.INTERACTIONS, days, config)) == 6
    strict = dataclasses.replace(config, events=dataclasses.replace(config.events, max_reject_share=0.01))
    with pytest.raises(GateError, match=r"2024-02-28: 0\."):
        check_table(built.lake(), c.EVENTS, days, strict)
    with pytest.raises(MissingDataError, match="2024-05-01"):
        check_table(built.lake(), c.EVENTS, DateRange("2024-05-01", "2024-05-01"), config)


@pytest.mark.spark
def test_a_day_that_was_written_without_rows_breaks_the_promise_of_some(copied):
    lake, config = copied(c.INTERACTIONS, c.QUERY_ITEMS, c.RUNS)
    day = DateRange("2024-02-28", "2024-02-28")
    run = Run("interactions", "config", definition_hash(c.INTERACTIONS, config))
    for table in (c.QUERY_ITEMS, c.INTERACTIONS):
        replace_partitions(lake, [Output(table, lake.read(table).limit(0), day, ("query_key",))], run)
    lake.refresh(c.INTERACTIONS)
    with pytest.raises(GateError, match="a day without interactions"):
        check_table(lake, c.INTERACTIONS, day, config)


@pytest.mark.spark
def test_rows_that_no_day_is_known_of_are_not_held_against_their_first_one_again(built, copied):
    lake, config = copied(c.EVENTS, c.EVENTS_REJECTED, c.RUNS)
    day = DateRange("2024-02-28", "2024-02-28")
    refused = lake.read(c.EVENTS_REJECTED, day)
    undated = refused.limit(1).crossJoin(lake.spark.range(500)).drop("id").withColumn("reason", F.lit("bad_timestamp"))
    more = Output(c.EVENTS_REJECTED, refused.unionByName(undated), day, ("reason",))
    replace_partitions(lake, [more], Run("ingest", "config"))
    lake.refresh(c.EVENTS_REJECTED)
    assert len(check_table(lake, c.EVENTS, day, config)) == 5
    events = Output(c.EVENTS, lake.read(c.EVENTS).limit(0), day, ("event_id",))
    replace_partitions(lake, [events], Run("ingest", "config", definition_hash(c.EVENTS, config)))
    lake.refresh(c.EVENTS)
    with pytest.raises(GateError, match="bad_timestamp 50"):
        check_table(lake, c.EVENTS, day, config)


def test_the_gates_library_can_be_imported_ahead():
    load_ahead()
    for thread in threading.enumerate():
        if thread.name == "gate":
            thread.join()
    assert "great_expectations" in sys.modules
