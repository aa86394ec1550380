import math

import pytest
from pyspark.sql import functions as F

from etl.config import ExportConfig
from etl.sampling import RESOLUTION, inverse_probability, is_drawn, sampled, threshold
from tests.etl import draws

TRAIN_DAY, TEST_DAY = "2024-02-29", "2024-03-01"
SCHEMA = "request_id string, item_id string, ds string, weight double, acted boolean"


def config_of(rate=0.5, seed=0):
    return ExportConfig(impression_sampling_rate=rate, sampling_seed=seed)


@pytest.mark.parametrize("rate", [1.0, 0.5, 0.3, 0.1, 1e-3, 2**-53, 1e-300])
def test_the_weight_is_the_exact_inverse_of_the_share_of_hashes_that_stay(rate):
    assert 1 <= threshold(rate) <= RESOLUTION
    assert threshold(rate) / RESOLUTION * inverse_probability(rate) == pytest.approx(1, abs=1e-15)
    if rate >= 1e-3:
        assert inverse_probability(rate) == pytest.approx(1 / rate, rel=1e-12)


@pytest.mark.parametrize("rate", [0.5, 0.1])
def test_the_weights_of_those_that_stay_add_up_to_the_number_of_all(rate):
    count = 20_000
    kept = sum(draws.stays(f"r{number // 10}", f"i{number % 10}", rate, seed=5) for number in range(count))
    deviation = math.sqrt(count * (1 - rate) / rate)
    assert abs(kept * inverse_probability(rate) - count) < 3 * deviation


def test_the_reference_hash_is_the_published_one():
    # Test values of the XXH64 specification's reference implementation.
    assert draws.xxh64(b"", 0) == 0xEF46DB3751D8E999
    assert draws.xxh64(b"abc", 0) == 0x44BC2CF5AD770999


@pytest.mark.spark
def test_a_hash_of_request_and_item_decides_whatever_the_layout(spark):
    pairs = [(f"r{number}", f"i{number % 7}") for number in range(400)] + [("ab", "c"), ("a", "bc"), ("\u00e9", "")]
    frame = spark.createDataFrame(pairs, "request_id string, item_id string")
    for rate, seed in ((0.5, 0), (0.5, -9), (0.1, 2**40), (1.0, 0)):
        expected = {pair for pair in pairs if draws.stays(*pair, rate, seed)}
        for layout in (frame.coalesce(1), frame.repartition(3, F.col("item_id"))):
            found = layout.where(is_drawn(config_of(rate, seed))).collect()
            assert {tuple(row) for row in found} == expected


@pytest.mark.spark
def test_only_training_rows_without_an_action_are_thinned_and_those_that_stay_weigh_for_the_others(spark):
    pairs = [
        (f"r{n}", "i", ds, 5.0, acted) for n in range(20) for ds in (TRAIN_DAY, TEST_DAY) for acted in (True, False)
    ]
    found = sampled(spark.createDataFrame(pairs, SCHEMA), [TRAIN_DAY], config_of(0.25)).collect()
    expected = [
        (request, item, ds, weight if acted or ds == TEST_DAY else weight * 4, acted)
        for request, item, ds, weight, acted in pairs
        if acted or ds == TEST_DAY or draws.stays(request, item, 0.25, 0)
    ]
    assert sorted(tuple(row) for row in found) == sorted(expected)
    assert 60 < len(expected) < 80


@pytest.mark.spark
def test_a_rate_of_1_changes_nothing(spark):
    frame = spark.createDataFrame([("r", "i", TRAIN_DAY, 5.0, False)], SCHEMA)
    assert sampled(frame, [TRAIN_DAY], config_of(1.0)) is frame
