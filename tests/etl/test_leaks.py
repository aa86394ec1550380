"""The trial of leaks: what it changes, what it compares, and that it finds the leaks that it is there for."""

import argparse
import dataclasses
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from etl import cli
from etl.contract.dates import DateRange
from etl.contract.errors import UsageError
from etl.cross import with_cross
from etl.errors import MissingDataError
from etl.histories import with_history_end
from etl.leaks import check
from etl.leaks.auc import auc
from etl.leaks.compare import differing, listed, matched
from etl.leaks.cuts import CHANGES, marked_requests, with_cuts
from etl.leaks.errors import LeakError
from etl.leaks.opened import Histories, Opened
from etl.leaks.perturb import CHANGE, DUPLICATED, INSERTED, SHUFFLED, UNTOUCHED, changed_day, other_catalogue, perturbed
from etl.leaks.slices import described, needed_days, sampled
from etl.leaks.verdict import Marks, alone, judged
from etl.query_windows import AS_OF
from tests.etl.logs import DAYS, EXPORT_DAYS, events_frame, small_config

CUT = "2024-02-29"


def test_auc_is_the_share_of_pairs_in_the_right_order_with_ties_as_half():
    draw = np.random.default_rng(5)
    score, positive = draw.integers(0, 6, 60).astype(np.float32), draw.random(60) < 0.3
    pairs = [(a > b) + (a == b) / 2 for a in score[positive] for b in score[~positive]]
    assert auc(score, positive) == pytest.approx(sum(pairs) / len(pairs))
    assert auc(np.ones(4), np.array([True, False, False, True])) == 0.5
    assert np.isnan(auc(np.arange(3.0), np.array([True, True, True])))


def a_day(rows: int = 400) -> pa.Table:
    numbers = range(rows)
    return pa.table(
        {
            "event_id": [f"e{n:03d}" for n in reversed(numbers)],
            "ts": [1_000_000 + n for n in numbers],
            "user_id": [f"u{n % 7}" for n in numbers],
            "query": [f"Q{n % 11}" for n in numbers],
            "query_key": [f"q{n % 11}" for n in numbers],
            "item_id": [f"i{n % 13}" for n in numbers],
            "action": [("impression", "click")[n % 3 == 0] for n in numbers],
            "segments": pa.array([[("country", f"c{n % 7}")] for n in numbers], pa.map_(pa.string(), pa.string())),
            "ds": [CUT] * rows,
        }
    )


def by_id(table: pa.Table) -> dict[str, dict]:
    return {row["event_id"]: row for row in table.to_pylist()}


def test_a_changed_day_drops_repeats_and_shuffles_and_is_the_same_each_time():
    day = a_day()
    changed = changed_day(day, [1, 2], users=True)
    assert changed.equals(changed_day(day.take(list(range(399, -1, -1))), [1, 2], users=True))
    assert not changed.equals(changed_day(day, [2, 2], users=True))
    true, other = by_id(day), by_id(changed)
    kinds = Counter(row[CHANGE] for row in other.values())
    assert kinds.keys() == {UNTOUCHED, SHUFFLED, DUPLICATED}
    assert 0 < len(true.keys() - other.keys()) < 80
    for key, row in other.items():
        origin = true[key.removesuffix("~again")]
        assert (row["ts"], row["ds"]) == (origin["ts"], origin["ds"])
        if row[CHANGE] != SHUFFLED:
            assert row | {"event_id": "", CHANGE: ""} == origin | {"event_id": "", CHANGE: ""}
    moved = [key for key, row in other.items() if row[CHANGE] == SHUFFLED]
    for name in ("item_id", "query", "action", "user_id"):
        assert Counter(other[key][name] for key in moved) == Counter(true[key][name] for key in moved)
        assert any(other[key][name] != true[key][name] for key in moved)
    assert all(row["query"].lower() == row["query_key"] for row in other.values())
    assert all(row["user_id"][1:] == row["segments"][0][1][1:] for row in other.values())


def test_on_the_day_of_the_cut_events_keep_their_users():
    day = a_day()
    true = by_id(day)
    for key, row in by_id(changed_day(day, [1, 2], users=False)).items():
        assert row["user_id"] == true[key.removesuffix("~again")]["user_id"]


def an_export(**changes) -> Opened:
    """Requests 1 and 2 with items a and b each, one user with two actions."""
    entries = [("a", "text of a", "click", 10), ("b", float("nan"), "click", 20)]
    plain = {
        "request": np.array([1, 1, 2, 2]),
        "item_id": np.array(["a", "b", "a", "b"], dtype=object),
        "label": np.array([1, 0, 0, 1], dtype=np.int8),
        "cross": ("share", "rate"),
        "features": {
            "item.price": np.array([1.5, np.nan, 1.5, np.nan]),
            "history": np.array([7, 7, 9, 9], dtype=np.uint64),
            "share": np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32),
            "rate": np.array([0.0, 0.0, 0.0, 0.0], dtype=np.float32),
        },
        "user": np.zeros(4, dtype=np.int64),
        "history_end": np.array([1, 1, 2, 2]),
        "histories": Histories(np.array([0, 2]), entries),
    }
    return Opened(**plain | changes)


def with_feature(export: Opened, **values) -> Opened:
    arrays = {name: np.array(value, dtype=export.features[name].dtype) for name, value in values.items()}
    return dataclasses.replace(export, features=export.features | arrays)


def shuffled_rows(export: Opened, order: list[int]) -> Opened:
    fields = {name: getattr(export, name)[order] for name in ("request", "item_id", "label", "user", "history_end")}
    return dataclasses.replace(export, **fields, features={n: values[order] for n, values in export.features.items()})


def test_exports_are_compared_by_request_and_item_to_the_last_bit_and_nan_is_nan():
    true, other = an_export(), shuffled_rows(an_export(), [3, 1, 0])
    rows = matched(true, other)
    assert sorted(rows[0].tolist()) == [0, 1, 3]
    assert not any(flags.any() for flags in differing(true, other, rows).values())
    nearly = with_feature(true, share=[0.1, np.nextafter(np.float32(0.2), np.float32(1)), 0.3, 0.4])
    flags = differing(true, nearly, matched(true, nearly))
    assert {name: flag.tolist() for name, flag in flags.items() if flag.any()} == {"share": [False, True, False, False]}


def test_what_moved_is_listed_with_its_row_and_both_values():
    true = an_export()
    later = dataclasses.replace(
        with_feature(true, history=[7, 7, 8, 9], share=[0.1, 0.2, 0.5, 0.6]),
        histories=Histories(np.array([0, 2]), [true.histories.entries[0], ("c", "new", "click", 30)]),
    )
    rows = matched(true, later)
    found = listed(true, later, rows, differing(true, later, rows), most=3)
    assert [(one.feature, one.request, one.item_id) for one in found] == [
        ("history", 2, "a"), ("share", 2, "a"), ("share", 2, "b"),
    ]  # fmt: skip
    assert (found[0].before, found[0].after) == (
        "action 2 of 2: ('b', nan, 'click', 20)", "action 2 of 2: ('c', 'new', 'click', 30)",
    )  # fmt: skip
    assert (found[1].before, found[1].after) == ("0.3", "0.5")


BOTH = Marks(np.array([1, 2]), np.array([True, False]), np.array([True, True]))


def test_a_feature_that_moves_before_the_cut_is_a_leak():
    true = an_export()
    late = judged(true, with_feature(true, share=[0.1, 0.2, 0.3, 0.9]), BOTH)
    late.require_no_leak()
    assert (late.rows_compared, late.control_rows, late.control_moved_rows) == (2, 2, 1)
    assert late.plain()["control"]["unmoved_features"] == ["item.price", "history", "rate"]
    early = judged(true, with_feature(true, share=[0.1, 0.8, 0.3, 0.9]), BOTH)
    with pytest.raises(
        LeakError, match=r"1 of 2 rows before the cut moved: share \(1 rows\)\n.*0.2 became 0.8"
    ) as error:
        early.require_no_leak()
    assert error.value.exit_code == 3


def test_a_trial_in_which_nothing_could_move_is_no_proof():
    with pytest.raises(LeakError, match="proves nothing"):
        judged(an_export(), an_export(), BOTH).require_no_leak()
    none_before = Marks(BOTH.request, np.array([False, False]), BOTH.whole)
    with pytest.raises(LeakError, match="no row before the cut"):
        judged(an_export(), an_export(), none_before).require_no_leak()


def test_rows_of_a_request_that_is_wholly_before_the_cut_may_not_come_or_go():
    true = with_feature(an_export(), share=[0.1, 0.2, 0.3, 0.9])
    fewer = shuffled_rows(an_export(), [1, 2, 3])
    with pytest.raises(LeakError, match="1 rows before the cut stand in one"):
        judged(true, fewer, BOTH).require_no_leak()
    judged(true, fewer, Marks(BOTH.request, BOTH.before, np.array([False, True]))).require_no_leak()


def test_a_cross_feature_that_holds_the_label_is_suspicious_and_the_careless_join_jumps():
    rows = with_feature(an_export(), rate=[1, 0, 0, 1])
    naive = np.array([[9, 1], [0, 1], [0, 1], [8, 1]], dtype=np.float32)[::-1]
    found = alone(rows, rows.request[::-1], rows.item_id[::-1], naive)
    assert found["auc"]["share"] == {"as_of": 0.5, "naive": 1.0, "jump": 0.5}
    assert found["auc"]["rate"] == {"as_of": 1.0, "naive": 0.5, "jump": -0.5}
    assert found["suspicious"] == ["rate"]


def test_a_feature_that_ranks_like_a_careless_join_is_suspicious_where_that_join_helps_others():
    rows = with_feature(an_export(), share=[0.1, 0.2, 0.3, 0.4], rate=[3, 2, 0, 2])
    as_exported = rows.features["rate"]
    naive = np.stack([np.array([9, 0, 0, 8], dtype=np.float32), as_exported], axis=1)
    found = alone(rows, rows.request, rows.item_id, naive)
    assert found["auc"]["rate"]["as_of"] == found["auc"]["rate"]["naive"] == 0.875
    assert found["suspicious"] == ["rate"]
    without = np.stack([rows.features["share"], as_exported], axis=1)
    assert alone(rows, rows.request, rows.item_id, without)["suspicious"] == []


def test_flags_of_the_trial_are_refused_without_it():
    parser = argparse.ArgumentParser()
    cli.add_verbs(parser.add_subparsers(dest="verb"))
    context = SimpleNamespace()
    for words in (["--seed", "3"], ["--cut", CUT, "--scratch", "x"]):
        args = parser.parse_args(["check", "--ds", CUT, *words])
        with pytest.raises(UsageError, match=f"{words[0]}.*only with --leaks"):
            cli.run_check(args, context)
    with pytest.raises(UsageError, match="leave --table out"):
        cli.run_check(parser.parse_args(["check", "--ds", CUT, "--leaks", "--table", "events"]), context)


def test_the_middle_day_is_cut_unless_another_is_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(check, "check_leaks", lambda lake, config, *how: asked.append(how[:-1]) or {})
    context = SimpleNamespace(lake=lambda: None, config=None, log=None)
    parser = argparse.ArgumentParser()
    cli.add_verbs(parser.add_subparsers(dest="verb"))
    days = ["check", "--leaks", "--start-ds", "2024-02-27", "--end-ds", "2024-03-02"]
    for words in ([], ["--cut", "2024-03-01", "--seed", "7", "--sample-requests", "50"]):
        cli.run_check(parser.parse_args([*days, *words]), context)
    span = DateRange("2024-02-27", "2024-03-02")
    assert asked == [(span, CUT, 1, 20_000, None), (span, "2024-03-01", 7, 50, None)]
    with pytest.raises(UsageError, match="at least 1"):
        cli.run_check(parser.parse_args([*days, "--sample-requests", "0"]), context)


def event(number: int, when: str, user: str, request: str, **values) -> dict:
    ts = datetime.fromisoformat(when).replace(tzinfo=UTC)
    usual = {
        "query": "shoes",
        "query_key": "shoes",
        "item_id": "i1",
        "action": "click",
        "position": None,
        "segments": {},
    }
    ids = {"event_id": f"e{number}", "request_id": request, "user_id": user}
    return usual | ids | {"ts": ts, "ds": when[:10]} | values


EVENTS = [
    event(1, "2024-02-28 23:59:00", "u1", "night"),
    event(2, "2024-02-29 00:01:00", "u1", "night", item_id="i2"),
    event(3, "2024-02-29 08:00:00", "u1", "morning"),
    event(4, "2024-02-29 08:00:00", "u1", "morning", item_id="i2"),
    event(5, "2024-02-28 23:59:59", "u2", "last"),
    event(6, "2024-02-29 00:00:00", "u2", "last", item_id="i2"),
    event(7, "2024-03-01 09:00:00", "u1", "later"),
]


@pytest.mark.spark
def test_a_users_past_ends_where_their_request_of_the_day_begins(spark):
    marked = with_cuts(events_frame(spark, EVENTS), CUT, seed=1).cache()
    changes = {row.event_id: row[CHANGES] for row in marked.collect()}
    # e3 begins the morning's request and stays; u2 began none that day, so all of it is after.
    assert changes == {"e1": False, "e2": False, "e3": False, "e4": True, "e5": False, "e6": True, "e7": True}
    names = {row.h: row.r for row in marked.selectExpr("xxhash64(request_id) h", "request_id r").collect()}
    requests = {names[row.request]: (row.before, row.whole) for row in marked_requests(marked).collect()}
    assert requests == {"night": (True, True), "morning": (True, False), "last": (True, False), "later": (False, False)}


@pytest.mark.spark
def test_the_other_future_begins_at_the_cut_and_leaves_the_past(spark):
    marked = with_cuts(events_frame(spark, EVENTS), CUT, seed=1).cache()
    days = DateRange("2024-02-28", "2024-03-01")
    other = [row.asDict() for row in perturbed(marked, CUT, days, ("click", "purchase"), seed=1).collect()]
    past = {row["event_id"]: row["item_id"] for row in other if row["event_id"] in ("e1", "e2", "e3", "e5")}
    assert past == {"e1": "i1", "e2": "i2", "e3": "i1", "e5": "i1"}
    inserted = [row for row in other if row[CHANGE] == INSERTED]
    assert {row["event_id"] for row in inserted} == {
        f"leaks-{name}-e{number}" for name in ("cut", "later") for number in (1, 2, 3, 5)
    }
    cuts = {"u1": datetime(2024, 2, 29, 8, tzinfo=UTC), "u2": datetime(2024, 2, 29, tzinfo=UTC)}
    end = datetime(2024, 3, 2, tzinfo=UTC)
    for row in inserted:
        own, ts = cuts[row["user_id"]], row["ts"].astimezone(UTC)
        assert ts == own if "-cut-" in row["event_id"] else own <= ts < end
        assert (row["ds"], row["action"] in ("click", "purchase")) == (ts.date().isoformat(), True)


@pytest.mark.spark
def test_a_catalogue_says_something_else_from_the_cut_on(spark):
    schema = "item_id string, text string, categories map<string,string>, numerics map<string,double>, "
    schema += "dense map<string,array<float>>, ds string"
    row = ("i1", "shoe", {"brand": "acme"}, {"price": 1.5}, {"vector": [1.0]})
    frame = spark.createDataFrame([(*row, "2024-02-26"), (*row, "2024-02-28")], schema)
    changed = sorted(tuple(found) for found in other_catalogue(frame, ["2024-02-26", "2024-02-28"], CUT).collect())
    anew = ("i1", "changed shoe", {"brand": "changed acme"}, {"price": 4.0}, {"vector": [3.0]}, CUT)
    assert sorted(changed, key=lambda found: found[-1]) == [(*row, "2024-02-26"), (*row, "2024-02-28"), anew]
    same_day = other_catalogue(frame, ["2024-02-26", "2024-02-28"], "2024-02-28").collect()
    assert sorted((found.ds, found.text) for found in same_day) == [
        ("2024-02-26", "shoe"),
        ("2024-02-28", "changed shoe"),
    ]


@pytest.mark.spark
def test_a_sample_holds_whole_queries_and_about_the_asked_requests(built):
    lake = built.lake()
    whole = Counter(row.query_key for row in lake.read("events").select("query_key").collect())
    events, share = sampled(lake, EXPORT_DAYS, requests=15, seed=2)
    kept = Counter(row.query_key for row in events.select("query_key").collect())
    assert 0 < len(kept) < len(whole)
    assert kept == {query: whole[query] for query in kept}
    assert 0 < share < 1
    assert described(events, EXPORT_DAYS, share).queries <= len(kept)
    with pytest.raises(UsageError, match="raise --sample-requests"):
        described(events.where("false"), EXPORT_DAYS, share)


def test_the_slice_reaches_as_far_back_as_any_row_sees():
    config = small_config(lag_days=3, windows_days=(2, 30))
    assert needed_days(DateRange(CUT, CUT), config) == DateRange("2024-01-27", "2024-03-01")
    assert needed_days(DateRange(CUT, CUT), small_config()) == DateRange("2024-02-22", "2024-03-01")


@pytest.fixture(scope="module")
def trial(built, tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaks")
    return check.prepared(built.lake(), built.config, EXPORT_DAYS, CUT, 1, 1000, folder, lambda doing: None)


@pytest.mark.spark
@pytest.mark.slow
def test_the_export_moves_after_the_cut_and_nowhere_before_it(built, trial, monkeypatch):
    monkeypatch.setattr(check, "prepared", lambda *arguments: trial)
    result = check.check_leaks(built.lake(), built.config, EXPORT_DAYS, CUT, 1, 1000)
    assert (result["moved"], result["sample"]["share"]) == ([], 1.0)
    assert result["rows_compared"] > 20
    assert result["control"]["moved_rows"] > 10
    assert {"history", "item.text", "item.price", "all__has_history"}.isdisjoint(result["control"]["unmoved_features"])
    assert all(result["changed"][kind] > 0 for kind in ("dropped", "shuffled", "duplicated", "inserted"))
    click = result["auc"]["all__click_share_2d"]
    assert click["jump"] == pytest.approx(click["naive"] - click["as_of"])
    assert click["jump"] > 0.1


@pytest.mark.spark
@pytest.mark.slow
def test_leaks_are_found_and_named(built, trial, monkeypatch):
    def of_the_same_day(rows, *others):
        return with_cross(rows.withColumn(AS_OF, F.date_format(F.date_add(F.to_date(AS_OF), 1), "yyyy-MM-dd")), *others)

    def with_actions_at_the_request_itself(begun, actions):
        shifted = begun.withColumn("ts", F.timestamp_micros(F.unix_micros("ts") + 1))
        counted = with_history_end(shifted, actions)
        return counted.withColumn("ts", F.timestamp_micros(F.unix_micros("ts") - 1))

    monkeypatch.setattr("etl.training_frames.with_cross", of_the_same_day)
    monkeypatch.setattr("etl.training_frames.with_history_end", with_actions_at_the_request_itself)
    verdict, rows = check.tried(built.lake(), trial, lambda doing: None)
    found = {one.feature: one for one in verdict.moved}
    assert {"history", "history.length", "all__click_share_2d"} <= found.keys()
    assert not any(name.startswith(("item.", "query.", "segment.")) for name in found)
    share = found["all__click_share_2d"]
    [row] = np.flatnonzero((rows.request == share.request) & (rows.item_id == share.item_id))
    assert share.before == str(rows.features["all__click_share_2d"][row])
    assert share.after != share.before
    with pytest.raises(LeakError, match="all__click_share_2d moved: "):
        verdict.require_no_leak()


@pytest.mark.spark
def test_a_trial_needs_its_cut_in_the_range_and_the_day_before_it_in_the_lake(built):
    with pytest.raises(UsageError, match="--cut 2024-03-09 is not one of the days"):
        check.check_leaks(built.lake(), built.config, EXPORT_DAYS, "2024-03-09", 1, 10)
    with pytest.raises(MissingDataError, match="events"):
        check.check_leaks(built.lake(), built.config, DAYS, CUT, 1, 10)
