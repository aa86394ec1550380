import pyarrow as pa
import pytest

from etl.simulate.blocks import candidate_truth_of, candidates_of, events_of, items_table, truth_of
from etl.simulate.config import SimulateConfig
from etl.simulate.world import build_world
from tests.etl.simulate.worlds import DATES, events, hits_at_3, plan, truth


def test_a_block_is_the_same_in_any_process_and_order() -> None:
    made = plan()
    first = events_of(made, 1)
    build_world.cache_clear()
    events_of(made, 0)
    assert events_of(made, 1).equals(first)


def test_another_seed_gives_another_log() -> None:
    assert not events_of(plan(seed=1), 0).equals(events_of(plan(seed=2), 0))


@pytest.mark.parametrize("rows", [2_000, 20_000, 210_000])
def test_the_number_of_rows_is_close_to_what_was_asked_for(rows: int) -> None:
    assert events(plan(rows=rows)).num_rows == pytest.approx(rows, rel=0.03)


def test_every_impression_of_a_person_has_a_truth_and_nothing_else_has() -> None:
    made = plan(rows=200_000)
    table = events(made).to_pandas()
    impressions = table[(table["kind"] == 0) & (table["action"] == "impression")]
    known = truth(made).to_pandas()
    assert set(zip(impressions.request_id, impressions.item_id, strict=True)) == set(
        zip(known.request_id, known.item_id, strict=True)
    )
    assert len(impressions) == len(known)
    assert known.probability.between(0, 1, inclusive="neither").all()


def test_the_oracle_beats_the_shown_order_and_words_and_words_beat_chance() -> None:
    made = plan(rows=100_000)
    table = events(made).to_pandas()
    good = table[table["kind"] <= 1]
    impressions = good[good.action == "impression"]
    engaged = set(zip(*(good[good.action != "impression"][key] for key in ("request_id", "item_id")), strict=True))
    text = dict(enumerate(build_world(made.spec).catalogue.text))
    known = truth(made).to_pandas()
    pairs = list(zip(impressions.request_id, impressions.item_id, strict=True))
    words = [
        float(len(set(query.lower().split()) & set(text[int(item[1:])].split())))
        for query, item in zip(impressions["query"], impressions.item_id, strict=True)
    ]
    true_pairs = zip(known.request_id, known.item_id, strict=True)
    oracle = hits_at_3(dict(zip(true_pairs, known.probability, strict=True)), engaged)
    shown = hits_at_3(dict(zip(pairs, -impressions.position, strict=True)), engaged)
    by_words = hits_at_3(dict(zip(pairs, words, strict=True)), engaged)
    by_chance = hits_at_3(dict.fromkeys(pairs, 0.0), engaged)
    assert oracle > shown + 0.05
    assert oracle > by_words + 0.1
    assert by_words > by_chance


def test_candidates_are_sets_of_listed_items_on_the_last_day() -> None:
    made = plan(knobs=SimulateConfig(candidate_requests=600))
    table = pa.Table.from_batches([candidates_of(made, block) for block in range(made.candidate_blocks)]).to_pylist()
    assert len({row["request_id"] for row in table}) == 600
    assert {row["ds"] for row in table} == {DATES.end}
    assert all(50 <= len(row["items"]) == len(set(row["items"])) <= 160 for row in table)


def test_candidates_have_a_truth_each() -> None:
    made = plan()
    table = candidates_of(made, 0).to_pylist()
    known = {(row["request_id"], row["item_id"]) for row in candidate_truth_of(made, 0).to_pylist()}
    assert known == {(row["request_id"], item) for row in table for item in row["items"]}


def test_log_and_candidates_speak_of_the_catalogue() -> None:
    made = plan()
    items = items_table(made.spec).to_pylist()
    listed = {row["item_id"] for row in items}
    assert set(truth_of(made, 0)["item_id"].to_pylist()) <= listed
    assert {item for row in candidates_of(made, 0).to_pylist() for item in row["items"]} <= listed
    assert all(row["text"] and row["category"] and row["department"] and row["price"] > 0 for row in items)
    assert len({row["category"] for row in items}) > len({row["department"] for row in items})


def test_pairs_of_query_and_item_keep_coming_back() -> None:
    table = events(plan(rows=100_000, knobs=SimulateConfig().without("noise"))).to_pandas()
    pairs = table[table.action == "impression"].assign(key=table["query"].str.lower().str.split().str.join(" "))
    pairs["day"] = pairs.ts.str[:10]
    first = pairs.groupby(["key", "item_id"]).day.transform("min")
    last_days = pairs.day >= "2026-03-19"
    assert (first < pairs.day)[last_days].mean() > 0.5
