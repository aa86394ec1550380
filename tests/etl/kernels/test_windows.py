import numpy as np
import pyarrow as pa
import pytest

from etl.contract import columns as c
from etl.contract.dates import DateRange, day_number, shift_ds
from etl.kernels.pairs import entries_of
from etl.kernels.tables import tile_of
from etl.kernels.windows import Reach, decayed_sum, seen, window_counts
from etl.tiles import cover, covers
from etl.windows import tile_figures
from tests.etl.kernels.rows import of_part, schema_of, shuffled
from tests.etl.logs import small_config

DS = "2024-03-01"


def entries(parts: list[DateRange], clicks: dict[int, int], half_life: int):
    """One pair's clicks by age before DS, as the rows of ``parts``."""
    config = small_config(half_lives_days=(half_life,))
    figures = tile_figures(config)
    tables = []
    for place, part in enumerate(parts):
        days = [(number, ds) for number, ds in enumerate(part) if day_number(DS) - day_number(ds) in clicks]
        rows = [_row(ds, number if len(part) > 1 else place, clicks, figures) for number, ds in days]
        table = pa.Table.from_pylist(rows, schema_of(figures))
        tables.append(of_part(tile_of(table, part, figures), place, figures) if len(part) > 1 else table)
    return entries_of(shuffled(pa.concat_tables(tables)), len(parts), [c.count("click"), *figures.decays])


def _row(ds: str, part: int, clicks: dict[int, int], figures) -> dict:
    count = clicks[day_number(DS) - day_number(ds)]
    values = {c.count(action): 0 for action in figures.actions} | dict.fromkeys(figures.decays, 0.0)
    values |= {decay: float(count) for decay in figures.decays if decay.startswith("click_")}
    return {"query_key": "q", "item_id": "i", "segment_name": "all", "segment_value": "",
            "part": part, **values, "click_cnt": count, "users_sketch": [1]}  # fmt: skip


def figures(clicks: dict[int, int], windows=(1, 2, 3), half_life=2):
    parts = cover(DS, windows)
    held = entries(parts, clicks, half_life)
    reach = Reach.of(parts, parts, DS, windows)
    return window_counts(held, reach, "click_cnt"), decayed_sum(held, reach, "click", half_life), seen(held, reach)


def test_a_window_of_w_days_holds_the_ages_0_to_w_minus_1():
    counts, _, known = figures({0: 1, 1: 10, 2: 100})
    assert counts.tolist() == [[1, 11, 111]]
    assert known.tolist() == [True]


def test_parts_of_another_days_cover_weigh_nothing():
    parts = covers(DateRange(DS, shift_ds(DS, 1)), (2,))
    held = entries(parts, {-1: 1000, 0: 1}, 2)
    reach = Reach.of(parts, cover(DS, (1,)), DS, (1,))
    assert window_counts(held, reach, "click_cnt").tolist() == [[1]]
    earlier = shift_ds(DS, -1)
    before = Reach.of(parts, cover(earlier, (1,)), earlier, (1,))
    assert seen(held, before).tolist() == [False]


@pytest.mark.parametrize("half_life", [1, 14])
def test_a_count_weighs_half_after_its_half_life_and_is_whole_at_age_0(half_life):
    windows = (30,)
    assert figures({0: 3}, windows, half_life)[1] == [3.0]
    assert figures({half_life: 2}, windows, half_life)[1] == pytest.approx([1.0], rel=1e-15)


@pytest.mark.parametrize(
    ("half_life", "longest", "clicks"),
    [
        (14, 90, {0: 1, 1: 2, 89: 3}),
        (3, 90, {29: 1, 30: 1, 59: 2, 60: 5, 89: 7}),
        (1, 365, {0: 1, 100: 3, 364: 5}),
        (1, 365, {364: 5}),
        (7, 400, {399: 1, 70: 1_000_000}),
        (400, 365, {0: 2_000_000, 364: 2_000_000}),
    ],
)
def test_decays_through_tiles_agree_with_the_formula_at_every_age(half_life, longest, clicks):
    exact = sum(count * 0.5 ** (age / half_life) for age, count in clicks.items())
    assert figures(clicks, (longest,), half_life)[1] == pytest.approx([exact], rel=1e-12, abs=0)


def test_an_empty_table_has_no_pairs():
    config = small_config()
    parts = cover(DS, (5,))
    held = entries_of(schema_of(tile_figures(config)).empty_table(), len(parts), [c.count("click")])
    assert len(held.pairs) == 0
    assert window_counts(held, Reach.of(parts, parts, DS, (5,)), "click_cnt").shape == (0, 1)
    assert np.size(held.pair) == 0
