import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl.query_key import query_key, with_query_key
from tests.etl import reference

SPELLINGS = {
    " Red  SHOES ": "red shoes",
    "red\tshoes\n": "red shoes",
    "\x00red\x1f\x7fshoes": "red shoes",
    "red\u00a0\u2003shoes\u0085": "red shoes",
    "\uff26\uff35\uff2c\uff2c": "full",
    "\ufb01ne": "fine",
    "caf\u00e9": "caf\u00e9",
    "CAFE\u0301": "caf\u00e9",
    "\u2460 \u00bd": "1 1\u20442",
    "STRASSE \u1e9e": "strasse \u00df",
    "\u0130": "i\u0307",
    "\u03a3\u0391\u03a3": "\u03c3\u03b1\u03c2",
    "\U0001f45f shoes": "\U0001f45f shoes",
    "\u200b": "\u200b",
    "007": "007",
    "\u3000": "",
    " \t": "",
    "": "",
}


@pytest.mark.parametrize(("query", "key"), SPELLINGS.items())
def test_spellings_of_one_query_share_its_key(query, key):
    assert query_key(query) == key


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.text())
@example("\x1c\u2028 \x85")
def test_the_key_follows_the_definition_and_keeps_no_stray_space(query):
    key = query_key(query)
    assert key == reference.query_key(query)
    assert key == " ".join(key.split())


@pytest.mark.spark
def test_spark_and_python_agree_on_every_spelling_and_no_row_is_lost(spark):
    ascii_texts = ["".join(map(chr, range(start, start + 16))) for start in range(0, 128, 16)]
    texts = [*SPELLINGS, *ascii_texts, *SPELLINGS, None]
    frame = spark.createDataFrame(list(enumerate(texts)), "row int, query string")
    keys = {row.row: row.query_key for row in with_query_key(frame).collect()}
    assert keys == {number: None if text is None else reference.query_key(text) for number, text in enumerate(texts)}


@pytest.mark.spark
def test_other_columns_stay_and_the_names_are_free(spark):
    frame = spark.createDataFrame([(1, "A\u00c9")], "query_key int, term string")
    assert with_query_key(frame, "term", "key").collect() == [(1, "A\u00c9", "a\u00e9")]


@pytest.mark.spark
def test_python_sees_a_query_once_and_ascii_never(spark, tmp_path):
    frame = spark.createDataFrame([("\u00e9",)] * 50 + [("plain",)] * 50, "query string").repartition(4)
    plan = with_query_key(frame)._jdf.queryExecution().optimizedPlan().toString()
    below = plan.split("MapInArrow", 1)[1]
    assert "Aggregate" in below
    assert "RLIKE" in below.upper()
