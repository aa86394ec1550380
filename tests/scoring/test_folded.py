"""Cross features folded into one number by Spark equal the model's own fusion."""

import numpy as np
import pytest

from models.fusion import Fusion
from models.scaling import CrossScaling
from scoring.folded import Rates, with_cross_score

NAMES = ("all__click_rate_7d", "all__has_history", "country__click_rate_7d", "country__has_history")
FUSION = Fusion(
    dot_weight=2.0,
    weights=(0.7, -0.2, 0.5, 0.1),
    bias=(0.3,),
    head_weights=(1.0,),
    scaling=CrossScaling(NAMES, (30.0, 1.0, 12.0, 1.0), (0.4, 0.9, 0.2, 0.5), (0.5, 0.3, 0.6, 0.4)),
)
INTERACTIONS = [
    ("shoes", "i1", "all", "", 0.25),
    ("shoes", "i1", "country", "DE", 0.5),
    ("shoes", "i2", "all", "", 0.0),
    ("boots", "i1", "all", "", 0.9),
]
#: request_id, query_key, segments, item_id, and the cross features that training would have seen.
PAIRS = [
    ("r1", "shoes", {"country": "DE"}, "i1", [0.25, 1.0, 0.5, 1.0]),
    ("r2", "shoes", {"country": "US"}, "i1", [0.25, 1.0, 0.0, 0.0]),
    ("r3", "shoes", {}, "i2", [0.0, 1.0, 0.0, 0.0]),
    ("r4", "hats", {"country": "DE"}, "i1", [0.0, 0.0, 0.0, 0.0]),
]


@pytest.mark.spark
def test_a_pairs_cross_score_equals_the_fusion_of_its_features(spark):
    interactions = spark.createDataFrame(
        INTERACTIONS,
        "query_key string, item_id string, segment_name string, segment_value string, click_rate_7d double",
    )
    schema = "request_id string, query_key string, segments map<string,string>, item_id string, features array<double>"
    pairs = spark.createDataFrame(PAIRS, schema)
    scored = with_cross_score(pairs, interactions, FUSION.terms(), FUSION.constant()).collect()
    assert len(scored) == len(PAIRS)
    for row in scored:
        [expected] = FUSION.cross_score(np.array([row.features]))
        assert row.cross == pytest.approx(expected, abs=1e-12), row.request_id


@pytest.mark.spark
def test_rates_of_a_segment_without_a_row_back_off(spark):
    interactions = spark.createDataFrame(INTERACTIONS, "query_key string, item_id string, segment_name string, "
                                         "segment_value string, click_rate_7d double")  # fmt: skip
    pairs = spark.createDataFrame([(*pair[:4],) for pair in PAIRS], "request_id string, query_key string, "
                                  "segments map<string,string>, item_id string")  # fmt: skip
    known = [("shoes", "i1", [0.25]), ("shoes", "i2", [0.0]), ("hats", "i1", [0.125])]
    frame = spark.createDataFrame(known, "query_key string, item_id string, rates array<double>")
    rates = Rates(frame, ["click_rate_7d"])
    scored = with_cross_score(pairs, interactions, FUSION.terms(), FUSION.constant(), rates).collect()
    features = {
        "r1": [0.25, 1.0, 0.5, 1.0], "r2": [0.25, 1.0, 0.25, 0.0], "r3": [0.0, 1.0, 0.0, 0.0],
        "r4": [0.125, 0.0, 0.125, 0.0],
    }  # fmt: skip
    assert {row.request_id for row in scored} == features.keys()
    for row in scored:
        [expected] = FUSION.cross_score(np.array([features[row.request_id]]))
        assert row.cross == pytest.approx(expected, abs=1e-12), row.request_id


@pytest.mark.spark
def test_a_model_without_cross_features_adds_its_constant_only(spark):
    schema = "request_id string, query_key string, segments map<string,string>, item_id string, features array<double>"
    interactions = spark.createDataFrame(
        [], "query_key string, item_id string, segment_name string, segment_value string"
    )
    scored = with_cross_score(spark.createDataFrame(PAIRS, schema), interactions, (), 0.25)
    assert {row.cross for row in scored.collect()} == {0.25}
