"""The export against the reference, and the promise it is there for: no row knows the future."""

import dataclasses
import json
import math
import random
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import ipc

from etl.contract import columns as c
from etl.contract import manifest as m
from etl.contract.dates import DateRange
from etl.contract.errors import UsageError
from etl.contract.manifest import FILE
from etl.contract.paths import file_uri
from etl.cross import cross_names
from etl.errors import GateError, MissingDataError
from etl.export import export_training_data, split_days
from etl.ingest import ingest_events
from etl.interactions import build_interactions
from etl.tiles import table_of
from tests.etl import reference, reference_rows
from tests.etl.exports import features, opened
from tests.etl.logs import DAYS, EMPTY_DAY, EXPORT_DAYS, ITEMS, QUERIES, SNAPSHOTS, raw_log, sample_log, small_config

pytestmark = pytest.mark.spark

TABLES = {m.ITEMS_FILE: m.ITEMS, m.QUERIES_FILE: m.QUERIES, m.HISTORIES_FILE: m.HISTORIES}
TABLES |= {m.QUERY_ITEMS_FILE: m.QUERY_ITEMS}


def request_hashes(spark, request_ids):
    frame = spark.createDataFrame([(name,) for name in request_ids], "request_id string")
    return {
        row.request_id: row.hash for row in frame.selectExpr("request_id", "xxhash64(request_id) AS hash").collect()
    }


@pytest.fixture(scope="module")
def rows(built):
    return opened(built.export)


@pytest.fixture(scope="module")
def expected(built):
    wanted = reference_rows.training_rows(built.events, EXPORT_DAYS, built.config)
    hashes = request_hashes(built.spark, {request for request, _ in wanted})
    return {(hashes[request], item): row for (request, item), row in wanted.items()}


def test_there_is_one_row_per_request_and_item(rows, expected):
    assert rows.keys() == expected.keys()


@pytest.mark.parametrize("name", ["ds", "ts", "labels", "weight", "position", "query_key", "segments"])
def test_rows_stand_where_and_with_what_their_request_began(rows, expected, name):
    assert {key: row[name] for key, row in rows.items()} == {key: row[name] for key, row in expected.items()}


def test_cross_features_are_the_pairs_interactions_of_the_day_before(built, rows, expected):
    for key, row in expected.items():
        wanted = {name: row["cross"].get(name, 0.0) for name in cross_names(built.config)}
        assert rows[key]["cross"] == pytest.approx(wanted, rel=1e-6), key
    assert {row["cross"]["all__has_history"] for row in rows.values()} == {0.0, 1.0}


def test_histories_hold_what_came_strictly_before(rows, expected):
    seen = {key: [(item, action, ts) for item, _, action, ts in row["history"]] for key, row in rows.items()}
    assert seen == {key: row["history"] for key, row in expected.items()}
    assert max(map(len, seen.values())) > 3


def test_a_query_shows_the_items_it_did_best_with_until_the_day_before(built, rows):
    best = {(row.ds, row.query_key): row["items"] for row in built.lake().read(c.QUERY_ITEMS).collect()}
    for row in rows.values():
        before = (date.fromisoformat(row["ds"]) - timedelta(days=1)).isoformat()
        assert [item for item, _ in row["query_items"]] == best.get((before, row["query_key"]), [])
        described = max(day for day in SNAPSHOTS if day < row["ds"])
        for item, text in row["query_items"]:
            assert item != "i0" or text.removesuffix(" acme") == f"i0 of {described}"
    assert {bool(row["query_items"]) for row in rows.values()} == {False, True}
    assert m.read_manifest(built.export).query_items == len(
        {(row["ds"], row["query_key"]) for row in rows.values() if row["query_items"]}
    )


def test_items_are_described_by_the_snapshot_of_the_day_before(rows):
    seen = {(row["ds"], row["item"]["item_id"]): row["item"]["text"].removesuffix(" acme") for row in rows.values()}
    for (ds, item), text in seen.items():
        snapshot = max(day for day in SNAPSHOTS if day < ds)
        if item in ("i0", "i4"):
            assert text == f"{item} of {snapshot}"
        elif item in ("i5", "i9"):
            assert text == ""
    assert {text[-10:] for (_, item), text in seen.items() if item == "i0"} == set(SNAPSHOTS)


def test_a_history_names_the_item_version_that_its_own_day_knew(rows):
    for row in rows.values():
        for item, text, _, ts in row["history"]:
            ds = datetime.fromtimestamp(ts, UTC).date().isoformat()
            known = [day for day in SNAPSHOTS if day < ds]
            if item == "i0":
                assert text.removesuffix(" acme") == (f"i0 of {max(known)}" if known else "")


def test_the_last_days_are_held_out_in_order(built, rows):
    assert {row["ds"]: row["split"] for row in rows.values()} == {
        ds: {"2024-03-02": m.VALIDATION, "2024-03-03": m.TEST}.get(ds, m.TRAIN) for ds in EXPORT_DAYS if ds != EMPTY_DAY
    }


def test_a_range_too_short_to_split_is_a_usage_error(built, tmp_path):
    with pytest.raises(UsageError, match="has 2 days, but validation and test take 2"):
        split_days(DateRange("2024-03-02", "2024-03-03"), built.config)
    assert split_days(DateRange("2024-03-01", "2024-03-03"), built.config)["2024-03-01"] == m.TRAIN


def test_the_manifest_says_what_is_there(built, rows):
    manifest = m.read_manifest(built.export)
    lake = built.lake()
    assert (manifest.start_ds, manifest.end_ds, manifest.rows) == (
        *map(str, (EXPORT_DAYS.start, EXPORT_DAYS.end)),
        len(rows),
    )
    assert manifest.cross == tuple(cross_names(built.config))
    assert [head.name for head in manifest.heads] == ["engagement", "purchase"]
    assert manifest.positives == {
        head.name: sum(row["labels"][index] for row in rows.values()) for index, head in enumerate(manifest.heads)
    }
    assert manifest.segments == {"country": ("", "DE", "US"), "gender": ("", "female", "male")}
    assert manifest.sources == {table: lake.version(table) for table in manifest.sources}
    assert manifest.sources.keys() == {
        c.EVENTS, c.INTERACTIONS, table_of(1), c.QUERIES_DAILY, c.QUERY_ITEMS, c.ITEMS,
    }  # fmt: skip
    for ds, day in manifest.coverage_by_ds.items():
        own = [row["cross"]["all__has_history"] for row in rows.values() if row["ds"] == ds]
        assert (day["rows"], day["with_history"]) == (len(own), pytest.approx(sum(own) / len(own)))


def test_statistics_are_those_of_the_training_rows(built, rows):
    manifest = m.read_manifest(built.export)
    assert manifest.splits == {
        m.TRAIN: (EXPORT_DAYS.start, "2024-03-01"),
        m.VALIDATION: ("2024-03-02", "2024-03-02"),
        m.TEST: ("2024-03-03", "2024-03-03"),
    }
    training = [row for row in rows.values() if row["split"] == m.TRAIN]
    assert list(manifest.statistics) == [*manifest.cross, "items.price"]
    for name, found in manifest.statistics.items():
        values = [row["item"]["numerics"][0] if name == "items.price" else row["cross"][name] for row in training]
        known = np.array([value for value in values if value is not None])
        segment = name.split("__")[0]
        missing = [
            value is None
            if name == "items.price"
            else not row["cross"][f"{segment}__has_history"] and not name.endswith("__has_history")
            for value, row in zip(values, training, strict=True)
        ]
        assert found.rows == len(training)
        assert found.missing_share == pytest.approx(np.mean(missing))
        assert (found.min, found.max) == (known.min(), known.max())
        assert (found.mean, found.std) == (pytest.approx(known.mean()), pytest.approx(known.std(), abs=1e-9))
        assert found.quantiles["p50"] == np.quantile(known, 0.5, method="inverted_cdf")
        assert sum(found.shares) == pytest.approx(1)


def arrow_kind(kind):
    """A type as the contract spells it."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"{'list' if pa.types.is_list(kind) else 'large_list'}<{arrow_kind(kind.value_type)}>"
    return {"float": "float32", "double": "float64"}.get(str(kind), str(kind))


def test_shards_have_the_types_of_the_contract_and_keep_requests_whole_in_time_order(built):
    manifest = m.read_manifest(built.export)
    requests = []
    for shard in manifest.shards:
        table = pq.read_table(built.export / shard.path, partitioning=None)
        kinds = {field.name: arrow_kind(field.type) for field in table.schema}
        assert kinds == m.ROWS
        times = table["ts"].to_pylist()
        assert times == sorted(times)
        requests.append(set(table["request"].to_pylist()))
    assert len(set.union(*requests)) == sum(map(len, requests))
    files = {path.relative_to(built.export).as_posix() for path in built.export.rglob("*.*")}
    assert files == {m.FILE, *TABLES, *(shard.path for shard in manifest.shards)}


def test_tables_are_one_batch_without_nulls_of_the_types_of_the_contract(built):
    for name, columns in TABLES.items():
        with ipc.open_file(str(built.export / name)) as file:
            assert file.num_record_batches == 1
            assert {field.name: arrow_kind(field.type) for field in file.schema} == columns
            assert not any(column.null_count for column in file.get_batch(0).columns)


def test_without_a_truth_no_row_has_an_oracle(built, rows):
    assert not m.read_manifest(built.export).has_oracle
    assert all(math.isnan(row["oracle"]) for row in rows.values())


@pytest.fixture(scope="module")
def again(built, tmp_path_factory):
    """The same export, this time beside a truth for some of its rows and compared with the first."""
    folder = tmp_path_factory.mktemp("again") / "ein Übungs-%20-Ordner"
    chances = [(f"r{number}", item, 0.25) for number in range(36) for item in ITEMS[:3]]
    frame = built.spark.createDataFrame(chances, "request_id string, item_id string, probability double")
    frame.repartition(2).write.parquet(file_uri(folder / "truth"))
    report = export_training_data(
        built.lake(), built.config, EXPORT_DAYS, folder / "out", file_uri(folder / "truth"), built.export
    )
    return folder / "out", report


def test_an_export_has_not_drifted_from_itself(built, again):
    out, report = again
    manifest = m.read_manifest(out)
    assert manifest.baseline == m.read_manifest(built.export).digest()
    assert manifest.drift == report.drift == dict.fromkeys(manifest.statistics, 0.0)
    assert report.drift_unmatched == ()


def test_the_oracle_stands_beside_the_rows_that_the_truth_knows(built, again):
    out, _ = again
    numbered = set(request_hashes(built.spark, [f"r{number}" for number in range(36)]).values())
    assert m.read_manifest(out).has_oracle
    for (request, item), row in opened(out).items():
        if request in numbered and item in ITEMS[:3]:
            assert row["oracle"] == 0.25
        else:
            assert math.isnan(row["oracle"])


def test_exporting_again_gives_the_same_rows_in_the_same_order(built, again):
    out, report = again
    first, second = (json.loads((path / m.FILE).read_text()) for path in (built.export, out))
    of_baseline = {name: second[name] for name in ("baseline", "drift")}
    assert first | {"has_oracle": True} | of_baseline == second
    for name in TABLES:
        assert (built.export / name).read_bytes() == (out / name).read_bytes(), name
    for name in (shard["path"] for shard in first["shards"]):
        tables = [pq.read_table(path / name, partitioning=None) for path in (built.export, out)]
        same = [table.drop_columns("oracle") if "oracle" in table.column_names else table for table in tables]
        assert repr(same[0].to_pylist()) == repr(same[1].to_pylist()), name
    assert sum(report.rows.values()) == sum(shard["rows"] for shard in first["shards"])
    assert report.rows.keys() == set(m.SPLITS)


def meddled(rows, cut: datetime):
    """Every row at or after ``cut`` moved, renamed or turned into another action; those before untouched."""
    draw, changed = random.Random(11), []
    for number, row in enumerate(rows):
        when = reference.instant(row["ts"])
        if when is None or when < cut:
            changed.append(row)
        elif row["action"] == "impression" and draw.random() < 0.8:
            changed.append(row | {"query": draw.choice(QUERIES), "user_id": draw.choice(["u1", "u2", "u9"]),
                                  "item_id": draw.choice(ITEMS), "request_id": f"other{number}"})  # fmt: skip
        else:
            changed.append(row | {"action": draw.choice(["click", "purchase"]), "item_id": draw.choice(ITEMS)})
    return draw.sample(changed, len(changed))


@pytest.mark.slow
def test_changing_everything_after_a_moment_changes_no_feature_before_it(built, copied, tmp_path):
    cut = datetime(2024, 3, 2, 12, tzinfo=UTC)
    lake, config = copied(c.ITEMS)
    ingest_events(lake, raw_log(lake.spark, meddled(sample_log(), cut)), config, DAYS, "meddled")
    build_interactions(lake, config, DAYS)
    export_training_data(lake, config, EXPORT_DAYS, tmp_path / "out")
    earlier = [{key: features(row) for key, row in opened(path).items() if row["ts"] < cut.timestamp()}
               for path in (built.export, tmp_path / "out")]  # fmt: skip
    shared = earlier[0].keys() & earlier[1].keys()
    assert {key: earlier[1][key] for key in shared} == {key: earlier[0][key] for key in shared}
    # Rows may only differ by items that were first seen after the cut, within requests under way at it.
    assert len(shared) >= len(earlier[0]) - 3
    assert len(opened(tmp_path / "out").keys() - earlier[1].keys()) > 10


def test_interactions_that_were_never_built_stop_the_export(built, tmp_path):
    with pytest.raises(MissingDataError, match="interactions"):
        export_training_data(built.lake(), built.config, DateRange("2024-02-26", "2024-02-28"), tmp_path / "out")
    lagging = small_config(built.config.lake.root, lag_days=2)
    with pytest.raises(MissingDataError, match="interactions"):
        export_training_data(built.lake(), lagging, EXPORT_DAYS, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_fails_its_gate_leaves_the_old_one(built, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / FILE).touch()

    def failing(*arguments):
        raise GateError("export", ["a label of 2"], "docs")

    monkeypatch.setattr("etl.export.check_export", failing)
    short = DateRange("2024-02-29", "2024-03-03")
    with pytest.raises(GateError):
        export_training_data(built.lake(), built.config, short, out)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", FILE]


def test_a_feature_that_drifted_too_far_stops_the_export(built, tmp_path):
    baseline, name = tmp_path / "baseline", "all__click_share_5d"
    baseline.mkdir()
    manifest = m.read_manifest(built.export)
    unlike = dataclasses.replace(manifest.statistics[name], edges=(), shares=(0.0, 0.0, 1.0))
    dataclasses.replace(manifest, statistics=manifest.statistics | {name: unlike}).write(baseline)
    limited = dataclasses.replace(built.config, export=dataclasses.replace(built.config.export, max_psi=0.2))
    with pytest.raises(GateError, match=f"'{name}' drifted: PSI .*, export.max_psi is 0.2") as caught:
        export_training_data(built.lake(), limited, EXPORT_DAYS, tmp_path / "out", baseline=baseline)
    assert len(caught.value.failures) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["baseline"]
