"""One pair taken apart adds up to the score that the batch job writes."""

from dataclasses import asdict

import pytest
from pyspark.sql import Row
from pyspark.sql import functions as F

import scoring.explain
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.contract.errors import UnknownNameError
from scoring.cli import render
from scoring.errors import UnknownItemError, UnknownRequestError
from scoring.explain import BIAS, DOT, TOWERS, Explanation, explain
from scoring.explain_rows import request_of
from scoring.main import parse
from scoring.score import score_candidates
from tests.scoring.served_lake import AS_OF, CATALOGUE, DS, Served

spark_only = pytest.mark.spark


@pytest.fixture(scope="module")
def stored(served: Served) -> dict[tuple[str, str], tuple[int, float]]:
    """(request_id, item_id) -> rank and score that the batch job gives interactrank."""
    report = score_candidates(served.lake(), served.config, DS, served.model_dir("interactrank"))
    rows = served.lake().read(c.SCORES, DateRange(DS, DS)).where(F.col("model_version") == report.model_version)
    return {
        (row.request_id, one.item_id): (place + 1, one.score)
        for row in rows.collect()
        for place, one in enumerate(row.ranked)
    }


def explained(served: Served, name: str, request: str, item: str) -> Explanation:
    return explain(served.lake(), served.config, DS, served.model_dir(name), request, item)


@spark_only
@pytest.mark.parametrize("pair", [("c1", "i0"), ("c2", "i4"), ("c4", "i3")])
def test_the_parts_add_up_to_the_score_of_the_batch_job(served: Served, stored: dict, pair: tuple[str, str]):
    found = explained(served, "interactrank", *pair)
    rank, score = stored[pair]
    assert found.score == pytest.approx(sum(part.contribution for part in found.parts))
    assert found.score == pytest.approx(score, abs=1e-5)
    assert (found.rank, found.stored_score, found.stored) == (rank, score, True)
    assert (found.is_candidate, found.as_of, found.catalogue) == (True, AS_OF, CATALOGUE)
    card = served.model("interactrank").card
    assert [part.name for part in found.parts] == [DOT, *card.spec.cross, BIAS]
    for part in found.parts[:-1]:
        assert part.contribution == pytest.approx(part.weight * (part.raw if part.name == DOT else part.scaled))
    assert found.parts[0].raw == pytest.approx(sum(head.weight * head.dot for head in found.heads))


@spark_only
def test_an_item_that_is_no_candidate_is_explained_but_has_no_rank(served: Served, stored: dict):
    found = explained(served, "interactrank", "c3", "i4")
    assert (found.is_candidate, found.candidates, found.stored, found.rank, found.ranked) == (False, 2, True, None, 2)
    text = render("score", asdict(found))
    assert "not one of the request's 2 candidates" in text
    assert "not among the 2 that scores of 2024-03-03 keep, as it is no candidate" in text


@spark_only
def test_models_that_are_no_sum_show_logits_and_what_they_see(served: Served):
    fit, cold = (explained(served, name, "c1", "i1") for name in ("interactrank_fit", "cold"))
    assert fit.parts[0].name == TOWERS
    assert sum(part.contribution for part in fit.parts) == pytest.approx(fit.score, abs=1e-5)
    assert {part.contribution for part in cold.parts} == {None}
    assert [part.name for part in cold.parts] == list(served.model("cold").card.spec.cross)
    assert cold.score == pytest.approx(sum(head.weight * head.logit for head in cold.heads), abs=1e-6)
    assert [part.raw for part in cold.parts] == [part.raw for part in fit.parts[1:]]
    assert any(part.raw for part in cold.parts)
    assert not cold.stored
    assert "prerank score writes it" in render("score", asdict(cold))


@spark_only
def test_unknown_requests_and_items_name_the_nearest(served: Served):
    with pytest.raises(UnknownRequestError, match=r"no request 'c11' among the candidates of .* did you mean 'c1'"):
        explained(served, "two_tower", "c11", "i1")
    with pytest.raises(
        UnknownItemError, match=r"does not hold item 'i5': .* counted in unknown_items and never"
    ) as one:
        explained(served, "two_tower", "c1", "i5")
    assert one.value.is_candidate
    with pytest.raises(UnknownItemError, match=r"did you mean 'i1'\? It is no candidate") as other:
        explained(served, "two_tower", "c1", "i11")
    assert not other.value.is_candidate


@spark_only
def test_a_pair_of_a_request_whose_list_could_not_be_read_is_explained(
    served: Served, stored: dict, monkeypatch: pytest.MonkeyPatch
):
    def unread(*args: object) -> Row:
        return Row(**request_of(*args).asDict() | {"items": None})

    monkeypatch.setattr(scoring.explain, "request_of", unread)
    found = explained(served, "interactrank", "c2", "i4")
    assert (found.is_candidate, found.candidates) == (None, None)
    assert found.score == pytest.approx(stored["c2", "i4"][1], abs=1e-5)
    text = render("score", asdict(found))
    assert "i4  perhaps a candidate: the request's list could not be read, in the catalogue of" in text
    with pytest.raises(UnknownItemError, match=r"does not hold item 'i5': .*list of candidates could not be read"):
        explained(served, "interactrank", "c2", "i5")


def test_without_a_readable_list_an_item_without_rank_is_not_called_no_candidate():
    text = render("score", an_explanation(is_candidate=None, candidates=None, stored_score=None, rank=None, ranked=0))
    assert "rank     not among the 0 that scores of 2024-03-03 keep\n" in text


def test_the_flag_takes_a_request_and_an_item():
    words = ["score", "--ds", DS, "--model", "m"]
    assert parse([*words, "--explain", "r1", "i1"]).explain == ["r1", "i1"]
    assert parse(words).explain is None
    with pytest.raises(UnknownNameError, match="did you mean '--explain'"):
        parse([*words, "--explian", "r1", "i1"])


def an_explanation(**changes: object) -> dict:
    parts = [
        {"name": "dot product", "raw": 0.5, "scaled": None, "weight": 4.0, "contribution": 2.0},
        {"name": "all__click_share_7d", "raw": 0.02, "scaled": 1.5, "weight": -2.0, "contribution": -3.0},
        {"name": "country__click_share_7d", "raw": 0.0, "scaled": -0.5, "weight": 0.5, "contribution": -0.25},
        {"name": "gender__click_share_7d", "raw": 0.0, "scaled": -0.5, "weight": 0.5, "contribution": -0.25},
        {"name": "bias", "raw": None, "scaled": None, "weight": None, "contribution": -1.0},
    ]
    plain = {
        "ds": DS, "as_of": AS_OF, "catalogue": CATALOGUE, "model": "interactrank", "model_version": "abc",
        "request_id": "r1", "query_key": "red shoes", "user_id": "u1", "segments": {"country": "US"}, "item_id": "i7",
        "is_candidate": True, "candidates": 12, "parts": parts, "score": -2.5, "stored": True, "stored_score": -2.5,
        "heads": [{"head": "engagement", "weight": 1.0, "dot": 0.5, "logit": -2.5}], "rank": 3, "ranked": 10,
    }  # fmt: skip
    return plain | changes


def test_the_largest_parts_come_first_and_zeros_share_a_line():
    text = render("score", an_explanation())
    assert "item     i7  one of 12 candidates, in the catalogue of 2024-02-29" in text
    assert "rank     3 of 10 kept in scores of 2024-03-03, with score -2.5" in text
    lines = [line.split() for line in text.splitlines()]
    at = next(place for place, line in enumerate(lines) if line[:1] == ["part"])
    shown = [line[0] for line in lines[at + 2 :] if line]
    assert shown == ["all__click_share_7d", "dot", "bias", "2", "score"]
    assert "2 features of value 0" in text
    assert lines[-1] == ["score", "-2.500000"]
    assert max(map(len, text.splitlines())) <= 100
