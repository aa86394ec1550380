import pickle

import pytest

from etl.contract.errors import UnknownNameError
from etl.sources import SOURCES, get_source
from etl.sources.errors import InputError, MissingColumnsError, nearest_column


def test_every_registered_source_loads_under_its_own_name():
    assert {name: get_source(name).name for name in SOURCES} == {name: name for name in SOURCES}


def test_only_complete_journey_needs_no_input():
    assert [name for name in SOURCES if not get_source(name).needs_input] == ["complete-journey"]


def test_an_unknown_source_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'parquet'"):
        get_source("parket")


@pytest.mark.parametrize(
    "error",
    [
        InputError("a.csv", "is broken", "mend it"),
        MissingColumnsError("a.csv", "events", ["query"], ["q"], {"query": "search"}),
    ],
)
def test_errors_survive_pickling(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (type(error), str(error))


@pytest.mark.parametrize(
    ("name", "found", "nearest"),
    [
        ("query", ["Search_Term", "question"], "Search_Term"),
        ("user_id", ["userid", "when"], "userid"),
        ("item_id", ["colour", "when"], None),
    ],
)
def test_the_nearest_column_is_a_synonym_or_a_close_spelling(name, found, nearest):
    assert nearest_column(name, found) == nearest
