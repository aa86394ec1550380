"""Draws of negatives on a handful of requests, against the plain reference."""

import pytest

from etl.config import CANDIDATES, CATALOGUE, EtlConfig, ExportConfig
from etl.contract import columns as c
from etl.item_versions import VERSION
from etl.negatives import from_candidates, from_catalogue, known_items, negative_pairs, own_items, places
from etl.query_windows import AS_OF
from etl.row_counts import candidate_rows, catalogue_rows, observed_rows
from tests.etl import draws

pytestmark = pytest.mark.spark

DS, SEEN = "2024-02-29", "2024-02-28"
#: request -> its items; r3 holds all that its query knows.
OWN = {"r1": ["i1"], "r2": ["i2", "x"], "r3": ["i0", "i1", "i2", "i3"], "r4": ["i1"]}
QUERY = {"r1": "shoes", "r2": "shoes", "r3": "shoes", "r4": "unknown"}
KNOWN = ["i0", "i1", "i2", "i3"]


def config_of(kind, wanted, seed=0):
    return EtlConfig(export=ExportConfig(negatives=kind, negatives_per_request=wanted, sampling_seed=seed))


def counted_of(spark):
    rows = [(request, item, "impression", 0, DS) for request, items in OWN.items() for item in items * 2]
    return spark.createDataFrame(rows, "request_id string, item_id string, action string, position int, ds string")


def asked_of(spark):
    rows = [(request, DS, QUERY[request], SEEN, SEEN) for request in OWN]
    return spark.createDataFrame(
        rows, f"request_id string, ds string, query_key string, {AS_OF} string, {VERSION} string"
    )


def drawn_of(frame):
    rows = frame.collect()
    assert {row.ds for row in rows} <= {DS}
    pairs = [(row.request_id, row.item_id) for row in rows]
    assert len(set(pairs)) == len(pairs)
    return set(pairs)


def known_of(spark):
    rows = [(SEEN, "shoes", item, c.ALL_SEGMENT) for item in KNOWN] + [
        (SEEN, "shoes", "i0", "country"), (SEEN, "other", "i9", c.ALL_SEGMENT), (DS, "shoes", "i8", c.ALL_SEGMENT),
    ]  # fmt: skip
    return known_items(spark.createDataFrame(rows, "ds string, query_key string, item_id string, segment_name string"))


@pytest.mark.parametrize(("wanted", "seed"), [(1, 0), (2, 0), (2, 7), (9, 0)])
def test_candidates_are_the_lowest_hashes_of_what_the_query_knew_and_the_request_does_not_hold(spark, wanted, seed):
    config = config_of(CANDIDATES, wanted, seed)
    counted, known = counted_of(spark), known_of(spark)
    drawn = from_candidates(asked_of(spark).join(own_items(counted), "request_id"), known, config.export)
    asking = {request: own for request, own in OWN.items() if QUERY[request] == "shoes"}
    expected = set().union(*(draws.lowest(name, set(KNOWN) - set(own), config) for name, own in asking.items()))
    assert drawn_of(drawn) == expected
    assert candidate_rows(counted, asked_of(spark), known, config) == len(expected)
    assert len(expected) == {1: 2, 2: 4, 9: 6}[wanted]


@pytest.mark.parametrize(
    ("size", "wanted", "seed"), [(1000, 3, 0), (1000, 3, 5), (8, 3, 0), (3, 3, 0), (1, 2, 0), (1000, 40, 1)]
)
def test_the_catalogue_gives_items_at_hashed_places_without_repeats_and_own_items(spark, size, wanted, seed):
    config, items = config_of(CATALOGUE, wanted, seed), [f"i{number}" for number in range(size)]
    rows = [(SEEN, item) for item in reversed(items)] + [(DS, f"new{number}") for number in range(20)]
    placed = places(spark.createDataFrame(rows, f"{VERSION} string, item_id string"))
    counted = counted_of(spark)
    drawn = from_catalogue(asked_of(spark).join(own_items(counted), "request_id"), placed, config.export)
    expected = {(request, item) for request, own in OWN.items()
                for item in draws.from_catalogue(request, own, items, config)}  # fmt: skip
    assert drawn_of(drawn) == expected
    assert catalogue_rows(counted, asked_of(spark), placed, config) == len(expected)
    if size == 1000:
        assert len(expected) == wanted * len(OWN)


def test_a_negative_has_no_label_no_position_and_the_configured_weight(spark):
    config = EtlConfig(export=ExportConfig(negatives=CATALOGUE, negatives_per_request=1, negative_weight=0.25))
    drawn = spark.createDataFrame([("r1", DS, "i9")], "request_id string, ds string, item_id string")
    [row] = negative_pairs(drawn, config).collect()
    assert row.asDict() == {
        "request_id": "r1", "ds": DS, "item_id": "i9", "labels": [0], "position": -1, "weight": 0.25, "acted": False,
    }  # fmt: skip


def test_observed_rows_are_counted_as_they_are_sampled(spark):
    pairs = [(f"r{n}", "i1", action, 0, ds) for n in range(30) for ds in (SEEN, DS)
             for action in (("impression", "click") if n % 3 == 0 else ("impression", "impression"))]  # fmt: skip
    pairs = [(f"{request}{ds}", *rest, ds) for request, *rest, ds in pairs]
    frame = spark.createDataFrame(pairs, counted_of(spark).schema)
    for rate in (1.0, 0.5):
        config = EtlConfig(export=ExportConfig(impression_sampling_rate=rate))
        acted = {request for request, _, action, _, _ in pairs if action == "click"}
        expected = {(request, item) for request, item, _, _, ds in pairs
                    if ds == DS or request in acted or draws.stays(request, item, rate, 0)}  # fmt: skip
        assert observed_rows(frame, config, [SEEN]) == len(expected)
    assert 40 < len(expected) < 60
