"""The order of writes, from their records and a table's log, against a replay of what happened."""

import random
from typing import NamedTuple

import pytest

from etl import commit_order
from etl.commit_order import in_commit_order


class Record(NamedTuple):
    output_version: int
    run_id: str


class FakeLake:
    """A table whose log has the commits of these runs, by version; None for an entry that was cleaned up."""

    spark = None

    def __init__(self, log):
        self.log = log

    def exists(self, table):
        return bool(self.log)

    def version(self, table):
        return len(self.log) - 1

    def path(self, table):
        return "things"


@pytest.fixture
def order(monkeypatch):
    def given(log, *records):
        said = [{"userMetadata": f'{{"run_id": "{run}"}}'} if run else {} for run in log]
        monkeypatch.setattr(commit_order, "commit_info", lambda spark, path, version: said[version])
        return [one.run_id for one in in_commit_order(FakeLake(log), "things", [Record(*one) for one in records])]

    return given


def test_of_runs_at_the_same_time_the_log_knows_the_order(order):
    assert order(["a", "b", "c"], (0, "a"), (2, "c"), (1, "b")) == ["a", "b", "c"]


def test_a_cleaned_log_leaves_the_order_to_the_versions(order):
    assert order(["a", None, None], (0, "a"), (2, "c"), (1, "b")) == ["a", "b", "c"]


def test_records_of_a_table_that_was_made_anew_are_left_out(order):
    former = [(0, "a"), (1, "b"), (2, "c")]
    assert order(["d"], *former, (0, "d")) == ["d"]
    assert order(["d", "e", "f"], *former, (0, "d"), (1, "e"), (2, "f")) == ["d", "e", "f"]


def test_a_log_that_lost_its_end_keeps_what_it_has(order):
    assert order(["a"], (0, "a"), (1, "b")) == ["a"]
    assert order(["a", "c"], (0, "a"), (1, "b"), (1, "c")) == ["a", "c"]


def test_a_table_that_is_gone_has_no_writes(order):
    assert order([], (0, "a")) == []


def test_any_history_is_told_as_it_happened(order):
    draw = random.Random(3)
    for _ in range(100):
        log, records, number = [], [], 0
        for _ in range(draw.randrange(1, 12)):
            what = draw.random()
            if what < 0.1:
                log = []
            elif what < 0.2:
                log = log[: draw.randrange(len(log) + 1)]
            else:
                log.append(f"run {number}")
                records.append((len(log) - 1, log[-1]))
                number += 1
        assert order(log, *records) == log
