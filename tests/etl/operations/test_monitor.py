"""The monitored figures of the sample log, against plain Python over the tables' rows."""

import dataclasses
import math

import numpy as np
import pytest

from etl.contract import columns as c
from etl.contract.dates import DateRange, day_number, shift_ds
from etl.cross import cross_names
from etl.operations.config import Limit, MonitorConfig
from etl.operations.errors import MonitoringGateError
from etl.operations.feature_drift import cross_samples, feature_psi
from etl.operations.monitor import monitor
from tests.etl.logs import DAYS, EMPTY_DAY, SNAPSHOTS

pytestmark = [pytest.mark.spark, pytest.mark.slow]

ASKED = DateRange("2024-02-28", "2024-03-03")
BASELINE = "2024-02-28"


@pytest.fixture(scope="module")
def lake(built, tmp_path_factory):
    import shutil

    from etl.lake import Lake

    root = tmp_path_factory.mktemp("monitor") / "lake"
    shutil.copytree(built.config.lake.root, root)
    return Lake(built.spark, str(root))


@pytest.fixture(scope="module")
def found(built, lake):
    return monitor(lake, built.config, ASKED, BASELINE)


@pytest.fixture(scope="module")
def values(found):
    return {(one.ds, one.label): one.value for one in found.figures}


@pytest.fixture(scope="module")
def shown(lake):
    """ds -> (query_key, item_id) of each impression."""
    rows = lake.read(c.EVENTS).where("action = 'impression'").collect()
    return {ds: [(row.query_key, row.item_id) for row in rows if row.ds == ds] for ds in DAYS}


@pytest.fixture(scope="module")
def known(lake):
    """ds -> pairs with interactions."""
    rows = lake.read(c.INTERACTIONS).where("segment_name = 'all'").select("ds", "query_key", "item_id").collect()
    return {ds: {(row.query_key, row.item_id) for row in rows if row.ds == ds} for ds in DAYS}


def test_rows_and_refused_rows_are_those_of_the_tables(lake, values):
    for table in (c.EVENTS, c.EVENTS_REJECTED, c.INTERACTIONS):
        held = [row.ds for row in lake.read(table).select("ds").collect()]
        assert [values[ds, f"rows.{table}"] for ds in ASKED] == [held.count(ds) for ds in ASKED]
    for ds in ASKED:
        kept, refused = values[ds, "rows.events"], values[ds, "rows.events_rejected"]
        assert values.get((ds, "reject_share")) == (refused / (kept + refused) if kept + refused else None)
    assert values[EMPTY_DAY, "rows.events"] == 0


def test_coverage_is_of_impressions_with_interactions_of_the_day_before(values, shown, known):
    for ds in ASKED:
        seen = [pair in known[shift_ds(ds, -1)] for pair in shown[ds]]
        assert values.get((ds, "coverage.impressions")) == (sum(seen) / len(seen) if seen else None)
        covered = {query for (query, _), there in zip(shown[ds], seen, strict=True) if there}
        counts = {query: [pair[0] for pair in shown[ds]].count(query) for query, _ in shown[ds]}
        top = max(counts.values(), default=0)
        # The most shown queries begin the head.
        if top and sum(n for n in counts.values() if n == top) * 3 >= len(shown[ds]):
            most = [query in covered for query, n in counts.items() if n == top]
            assert values[ds, "coverage.head"] == sum(most) / len(most)


def test_freshness_counts_days_to_the_newest_row_and_snapshot(values):
    for ds in ASKED:
        newest = ds > EMPTY_DAY or ds < EMPTY_DAY
        assert values[ds, "days_behind.events"] == (0 if newest else 1)
        snapshot = max(day for day in SNAPSHOTS if day <= ds)
        assert values[ds, "snapshot_age_days.items"] == day_number(ds) - day_number(snapshot)


def test_psi_is_over_the_baselines_bins(built, values, shown, known):
    def share(ds):
        return sum(pair in known[shift_ds(ds, -1)] for pair in shown[ds]) / len(shown[ds])

    def term(p, q):
        p, q = max(p, 1e-4), max(q, 1e-4)
        return (p - q) * math.log(p / q)

    base = share(BASELINE)
    for ds in ASKED:
        # Of a flag there are two bins that anything falls into: 0 and 1.
        wanted = term(base, share(ds)) + term(1 - base, 1 - share(ds)) if shown[ds] else None
        assert values.get((ds, "psi.all__has_history")) == pytest.approx(wanted)
    names = [label for ds, label in values if ds == BASELINE and label.startswith("psi.")]
    assert sorted(names) == sorted(f"psi.{name}" for name in cross_names(built.config))
    assert all(values[BASELINE, name] == 0 for name in names)


def test_a_smaller_sample_is_a_part_of_the_larger_and_the_same_each_time(built, lake):
    small = dataclasses.replace(built.config, monitor=MonitorConfig(sample_rows=5))
    one, other = (cross_samples(lake, small, [BASELINE])[BASELINE] for _ in range(2))
    whole = cross_samples(lake, built.config, [BASELINE])[BASELINE]
    assert 0 < len(one) < len(whole)
    assert np.array_equal(np.sort(one, axis=0), np.sort(other, axis=0))
    assert {row.tobytes() for row in one} <= {row.tobytes() for row in whole}
    assert len(feature_psi(whole, one, cross_names(built.config))) == whole.shape[1]


def test_monitoring_holds_what_was_measured_once_however_often(built, lake, found):
    gates = MonitorConfig(gates={"rows.events": Limit(min=1), "coverage.impressions": Limit(max=1)}, sample_rows=0)
    empty = DateRange(EMPTY_DAY, EMPTY_DAY)
    again = monitor(lake, dataclasses.replace(built.config, monitor=gates), empty)
    rows = {(row.ds, row.metric, row.part): row.value for row in lake.read(c.MONITORING).collect()}
    kept = {
        (one.ds, one.metric, one.part): one.value for one in (*found.figures, *again.figures) if one.ds != EMPTY_DAY
    }
    assert {key: value for key, value in rows.items() if key[0] != EMPTY_DAY} == kept
    assert len(rows) == lake.read(c.MONITORING).count()
    with pytest.raises(MonitoringGateError, match=r"rows\.events of 2024-03-01 is 0; at least 1 is") as caught:
        again.require_gates()
    assert caught.value.exit_code == 3
    assert "coverage.impressions could not be measured on 2024-03-01" in again.warnings
