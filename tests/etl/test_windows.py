import pytest
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.windows import AGE, TARGET, at_each_ds, decayed_sum, ds_of, window_counts

pytestmark = pytest.mark.spark

DS = "2024-03-01"


def daily(spark, counts: dict[int, int]):
    """One pair's clicks by age before DS."""
    rows = [(shift_ds(DS, -age), count) for age, count in counts.items()]
    return spark.createDataFrame(rows, "ds string, click_cnt bigint")


def test_a_window_of_w_days_holds_the_ages_0_to_w_minus_1(spark):
    aged = at_each_ds(daily(spark, {-1: 1000, 0: 1, 1: 10, 2: 100, 3: 10_000}), DateRange(DS, DS), 3)
    assert {(row.ds, row[AGE]) for row in aged.collect()} == {(DS, 0), ("2024-02-29", 1), ("2024-02-28", 2)}
    [row] = aged.groupBy(TARGET).agg(*window_counts(["click"], [1, 2, 3])).collect()
    assert (row.click_cnt_1d, row.click_cnt_2d, row.click_cnt_3d) == (1, 11, 111)


def test_a_row_joins_every_asked_day_that_covers_it(spark):
    days = DateRange("2024-02-28", "2024-03-02")
    aged = at_each_ds(daily(spark, {1: 5}), days, 2).withColumn("asked", ds_of())
    assert {(row.asked, row[AGE]) for row in aged.collect()} == {("2024-02-29", 0), ("2024-03-01", 1)}


def test_a_window_without_events_counts_nothing(spark):
    aged = at_each_ds(daily(spark, {2: 7}), DateRange(DS, DS), 3)
    [row] = aged.groupBy(TARGET).agg(*window_counts(["click"], [1, 3])).collect()
    assert (row.click_cnt_1d, row.click_cnt_3d) == (0, 7)


def decay(spark, counts, half_life, longest):
    aged = at_each_ds(daily(spark, counts), DateRange(DS, DS), longest)
    [row] = aged.agg(decayed_sum(c.count("click"), half_life, longest).alias("decay")).collect()
    return row.decay


@pytest.mark.parametrize("half_life", [1, 14])
def test_a_count_weighs_half_after_its_half_life_and_is_whole_at_age_0(spark, half_life):
    assert decay(spark, {0: 3}, half_life, 30) == 3.0
    assert decay(spark, {half_life: 2}, half_life, 30) == 1.0
    assert decay(spark, {0: 1, half_life: 1, 2 * half_life: 1}, half_life, 30) == 1.75


@pytest.mark.parametrize(
    ("half_life", "longest", "counts"),
    [
        (14, 90, {0: 1, 1: 2, 89: 3, 90: 10**6}),
        (3, 90, {29: 1, 30: 1, 59: 2, 60: 5, 89: 7}),
        (1, 365, {0: 1, 100: 3, 364: 5}),
        (1, 365, {364: 5}),
        (7, 400, {399: 1, 70: 1_000_000}),
        (400, 365, {0: 2_000_000, 364: 2_000_000}),
    ],
)
def test_decays_agree_with_the_formula_at_every_age(spark, half_life, longest, counts):
    exact = sum(count * 0.5 ** (age / half_life) for age, count in counts.items() if age < longest)
    assert decay(spark, counts, half_life, longest) == pytest.approx(exact, rel=1e-9, abs=0)


def test_the_order_of_rows_changes_no_bit_of_a_decay(spark):
    counts = {age: 1 + age * age % 17 for age in range(90)}
    forwards, backwards = daily(spark, counts), daily(spark, dict(reversed(counts.items())))
    sums = [
        at_each_ds(frame.repartition(parts), DateRange(DS, DS), 90)
        .agg(decayed_sum(c.count("click"), 14, 90).alias("decay"))
        .first()["decay"]
        for frame, parts in ((forwards, 1), (backwards, 3))
    ]
    assert sums[0] == sums[1]


def test_counts_that_a_day_does_not_know_weigh_nothing(spark):
    frame = daily(spark, {0: 3}).unionByName(daily(spark, {1: 1}).withColumn("click_cnt", F.lit(None).cast("bigint")))
    aged = at_each_ds(frame, DateRange(DS, DS), 5)
    row = aged.agg(*window_counts(["click"], [5]), decayed_sum(c.count("click"), 2, 5).alias("decay")).first()
    assert (row.click_cnt_5d, row.decay) == (3, 3.0)
