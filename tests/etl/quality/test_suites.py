from pathlib import Path

import pytest

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.quality.gate import _describe, _holds, docs_root
from etl.quality.suites import EXPORT, Bound, suite
from tests.etl.logs import small_config


@pytest.mark.parametrize(
    ("low", "high", "value", "holds"),
    [
        (0, 0, 0, True),
        (0, 0, 1, False),
        (1, None, 0, False),
        (1, None, 10**9, True),
        (0, 0.5, 0.5, True),
        (0, 0.5, 0.50001, False),
        (0, 0, None, True),
    ],
)
def test_a_bound_includes_its_ends_and_judges_only_what_is_known(low, high, value, holds):
    assert _holds(Bound("x", low, high, "why"), value) is holds


def test_a_failure_names_its_days_and_how_many_more_there_are():
    rows = [{"ds": f"2024-02-0{day}", "x": day % 8} for day in range(1, 10)]
    text = _describe(Bound("x", 0, 0, "why"), rows)
    assert text == "why (2024-02-01: 1, 2024-02-02: 2, 2024-02-03: 3, 2024-02-04: 4, 2024-02-05: 5 and 3 more)"


@pytest.mark.parametrize("table", [c.EVENTS, c.INTERACTIONS, EXPORT, c.ITEMS])
def test_every_table_promises_something_and_names_a_column_once(table):
    columns = [bound.column for bound in suite(table, EtlConfig())]
    assert columns
    assert len(columns) == len(set(columns))


def test_the_share_of_refused_rows_is_bounded_by_the_configuration():
    [bound] = [bound for bound in suite(c.EVENTS, small_config()) if bound.column == "reject_share"]
    assert bound.high == small_config().events.max_reject_share


def test_results_are_kept_in_the_lake_or_beside_the_program_for_a_remote_one():
    assert docs_root(small_config("some/lake")).as_posix() == "some/lake/_quality"
    assert docs_root(small_config("s3a://bucket/lake")).as_posix() == "prerank_quality"
    assert docs_root(small_config("file:/some/lake")).as_posix() == "prerank_quality"
    assert docs_root(small_config("~/lake")) == Path.home() / "lake" / "_quality"
