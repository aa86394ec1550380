"""Figures of features against plain numpy over all rows at once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.contract.manifest import TRAIN, read_manifest
from etl.contract.statistics import PERCENTS
from etl.quality import statistics
from etl.quality.statistics import edges_of, shares_of, summarize
from tests.models.export_fixture import CROSS, World, write_export

SMALL = World(requests=(60, 3, 3), items=20, queries=5, users=4)


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return write_export(tmp_path_factory.mktemp("statistics") / "data", SMALL)


@pytest.fixture(scope="module")
def cross(directory) -> np.ndarray:
    return np.array(pq.read_table(directory / "rows/00000.parquet")["cross"].to_pylist(), dtype=np.float64)


def test_figures_of_all_rows_do_not_depend_on_the_blocks(directory, cross, monkeypatch):
    manifest = read_manifest(directory)
    whole = summarize(directory, manifest)
    monkeypatch.setattr(statistics, "_ROWS_AT_ONCE", 7)
    for name, found in summarize(directory, manifest).statistics.items():
        for figure in ("mean", "std"):
            assert getattr(found, figure) == pytest.approx(getattr(whole.statistics[name], figure), rel=1e-12)
        assert replace(found, mean=0, std=0) == replace(whole.statistics[name], mean=0, std=0)
    for index, name in enumerate(CROSS):
        values, found = cross[:, index], whole.statistics[name]
        assert (found.rows, found.min, found.max) == (len(values), values.min(), values.max())
        assert (found.mean, found.std) == (pytest.approx(values.mean()), pytest.approx(values.std()))
        assert found.quantiles == {
            f"p{percent}": np.percentile(values, percent, method="inverted_cdf") for percent in PERCENTS
        }


def test_a_cross_feature_is_missing_where_its_segment_has_no_history(directory, cross):
    found = summarize(directory, read_manifest(directory)).statistics
    without = np.mean(cross[:, CROSS.index("all__has_history")] == 0)
    assert 0 < without < 1
    assert found["all__click_share_7d"].missing_share == pytest.approx(without)
    assert found["all__has_history"].missing_share == 0
    # The data has no country__has_history, so only NaN is missing there.
    assert found["country__click_decay_hl14d"].missing_share == 0


def test_an_item_numeric_counts_once_per_row_and_nan_is_missing(directory):
    table = pq.read_table(directory / "rows/00000.parquet")
    items = table["item"].to_numpy()
    found = summarize(directory, read_manifest(directory)).statistics["items.price"]
    assert found.rows == len(items)
    assert found.missing_share == found.shares[0] == pytest.approx(np.mean(items % 7 == 0))
    assert found.min is not None
    assert found.min > 0


def test_large_values_keep_their_small_deviation(directory, tmp_path):
    changed = write_export(tmp_path / "data", SMALL)
    path = changed / "rows/00000.parquet"
    table = pq.read_table(path)
    values = np.float32(2**23) + np.arange(len(table), dtype=np.float32) % 2
    cross = np.stack([values] * len(CROSS), axis=1)
    column = pa.array(list(cross), pa.list_(pa.float32()))
    pq.write_table(table.set_column(table.column_names.index("cross"), "cross", column), path)
    assert summarize(changed, read_manifest(changed)).statistics[CROSS[0]].std == pytest.approx(0.5)


def test_a_sample_of_many_rows_is_spread_over_positions_and_repeats(directory, cross):
    manifest = read_manifest(directory)
    one, two = (summarize(directory, manifest, sample_rows=100).sample for _ in range(2))
    assert 60 < len(one[CROSS[0]]) < 140
    for name, values in one.items():
        assert np.array_equal(values, two[name], equal_nan=True)
    rows = {tuple(row): number for number, row in enumerate(cross.astype(np.float32).tolist()) if row[3]}
    picked = [rows[row] for row in zip(*(one[name].tolist() for name in CROSS), strict=True) if row in rows]
    assert len({number % SMALL.shown for number in picked}) == SMALL.shown


def test_edges_are_the_distinct_deciles_of_what_is_not_zero():
    assert edges_of(np.arange(1, 101.0)) == (10, 20, 30, 40, 50, 60, 70, 80, 90)
    assert edges_of(np.r_[np.zeros(1000), np.arange(1, 101), np.nan]) == edges_of(np.arange(1, 101.0))
    assert edges_of(np.array([1.0] * 5 + [2.0] * 5)) == (1, 2)
    assert edges_of(np.array([0.0, 3.0, 3.0])) == (3,)
    assert edges_of(np.zeros(4)) == edges_of(np.array([np.nan])) == ()


def test_shares_have_bins_for_nan_and_zero_and_closed_upper_edges():
    values = np.array([np.nan, 0, 0, -5, 1, 1.5, 2, 9], dtype=np.float32)
    assert shares_of(values, (1.0, 2.0)) == (1 / 8, 2 / 8, 2 / 8, 2 / 8, 1 / 8)
    assert shares_of(np.zeros(0), ()) == (0, 0, 0)


def test_a_split_without_rows_has_no_figures(directory):
    manifest = read_manifest(directory)
    empty = replace(manifest, shards=tuple(shard for shard in manifest.shards if shard.split != TRAIN))
    found = summarize(directory, empty).statistics["items.price"]
    assert (found.rows, found.min, found.mean, found.quantiles, found.edges) == (0, None, None, {}, ())
