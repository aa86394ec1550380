"""Items by the words of a query, against scores of every item."""

import pickle

import numpy as np
import pytest

from models.bm25 import DEFAULT, Bm25
from models.hashing import words
from scoring.candidates.texts import TextIndex

TEXTS = {
    "i0": "red shoes", "i1": "Blue shoes", "i2": "", "i3": "red red hat", "i4": "red shoes", "i5": "shoes for red days",
}  # fmt: skip
IDS = list(TEXTS)


@pytest.fixture(scope="module")
def index() -> TextIndex:
    return TextIndex(IDS, list(TEXTS.values()))


def brute_force(query: str, k: int) -> list[str]:
    distinct = sorted(set(TEXTS.values()))
    scores = Bm25([words(text) for text in distinct], *DEFAULT).scores(query)
    by_item = {item: scores[distinct.index(text)] for item, text in TEXTS.items()}
    found = [item for item in IDS if by_item[item] > 0]
    return sorted(found, key=lambda item: (-by_item[item], item))[:k]


@pytest.mark.parametrize("query", ["red shoes", "hat", "RED", "shoes", "unknown", ""])
@pytest.mark.parametrize("k", [1, 2, 3, 10])
def test_the_best_match_first_and_equal_texts_in_the_order_of_ids(index: TextIndex, query: str, k: int):
    assert [IDS[row] for row in index.best(query, k)] == brute_force(query, k)


def test_lists_of_several_queries_hold_ids_after_a_trip_to_a_worker(index: TextIndex):
    found = pickle.loads(pickle.dumps(index)).items(["red shoes", "unknown", "hat"], 2)
    assert found.to_pylist() == [["i0", "i4"], [], ["i3"]]


@pytest.mark.parametrize("texts", [[], ["", " - "]])
def test_a_catalogue_without_words_matches_nothing(texts: list[str]):
    index = TextIndex([f"i{number}" for number in range(len(texts))], texts)
    assert np.array_equal(index.best("red", 3), np.empty(0, np.int64))
    assert index.items([], 3).to_pylist() == []
