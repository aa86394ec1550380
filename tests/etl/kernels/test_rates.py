"""The chain of rates by hand on three pairs; whole tables are held to the reference in test_tables."""

import numpy as np
import pyarrow as pa
import pytest

from etl.kernels.rates import KEPT, QUERY_RATE, Priors, kept_rows, rates_of, token_counts

STRENGTH = 10.0
ROWS = [
    ("red shoes", "a", "all", "", 30, 6, [1.0, 0.2]),
    ("red shoes", "a", "country", "US", 10, 4, []),
    ("red shoes", "b", "all", "", 10, 0, [1.0, 0.2]),
    ("shoes", "a", "all", "", 50, 5, [1.0, 0.1]),
]
NAMES = ("query_key", "item_id", "segment_name", "segment_value", "impression_cnt_7d", "click_cnt_7d", QUERY_RATE)


def table(kept=(True,) * 4) -> pa.Table:
    columns = dict(zip(NAMES, map(list, zip(*ROWS, strict=True)), strict=True))
    return pa.table({"ds": ["d"] * len(ROWS), **columns, KEPT: list(kept)})


def rates(kept=(True,) * 4, actions=("impression", "click")) -> dict[tuple[str, str, str], float]:
    priors = Priors({"d": np.ones((2, 1))}, {"d": np.full(2, STRENGTH)})
    rows = kept_rows(rates_of(table(kept), actions, [7], priors)).to_pylist()
    return {(row["query_key"], row["item_id"], row["segment_name"]): row["click_rate_7d"] for row in rows}


def pulled(done: int, shown: int, parent: float) -> float:
    return (done + STRENGTH * parent) / (shown + STRENGTH)


def test_each_level_is_pulled_towards_the_coarser_one():
    found = rates()
    # 'red' was seen with item a under one query, 'shoes' under both: 30 + (30 + 50) impressions, 6 + (6 + 5) clicks.
    pair = pulled(6, 30, pulled(17, 110, 0.2))
    assert found["red shoes", "a", "all"] == pytest.approx(pair, rel=1e-12)
    assert found["red shoes", "a", "country"] == pytest.approx(pulled(4, 10, pair), rel=1e-12)
    # Item b was never clicked: its words and its own impressions speak against it, its query for it.
    alone = pulled(0, 10, pulled(0, 20, 0.2))
    assert found["red shoes", "b", "all"] == pytest.approx(alone, rel=1e-12)


def test_rows_that_are_not_kept_still_count_for_their_words():
    found = rates(kept=(True, True, True, False))
    assert found == {key: rate for key, rate in rates().items() if key[0] != "shoes"}


def test_a_log_without_impressions_has_no_rates():
    columns = table().rename_columns(["ds", *NAMES[:4], "save_cnt_7d", "click_cnt_7d", QUERY_RATE, KEPT])
    rows = rates_of(columns, ("save", "click"), [7], Priors({}, {})).to_pylist()
    assert {row["click_rate_7d"] for row in rows} == {0.0}


def test_a_word_that_a_query_repeats_counts_once():
    queries = pa.array(["red", "red red shoes"])
    counts = token_counts(np.array([0, 0]), np.array([0, 1]), queries, np.array([[1], [10]]))
    # 'red' of both queries: 11; 'shoes' of the second alone: 10 more.
    assert counts.tolist() == [[11], [21]]
