"""Which models are worth their cost, and how the picture names them."""

from itertools import combinations

import pytest

from scoring.pareto import frontier, quality_against_cost, spots
from scoring.svg import model_styles


def test_the_frontier_holds_what_no_cheaper_model_is_as_good_as():
    points = {
        "dear": (1000.0, 0.5),
        "worse": (2000.0, 0.4),
        "cheap": (100.0, 0.3),
        "equal": (100.0, 0.2),
        "same": (1500.0, 0.5),
    }
    assert frontier(points) == ["cheap", "dear"]
    assert frontier({}) == []


@pytest.mark.parametrize("count", [1, 4, 11])
def test_names_of_near_points_stand_apart(count: int):
    at = {f"model_{index}": (40.0 + index, 150.0 - index) for index in range(count)}
    boxes = [box for _, _, box in spots(at).values()]
    assert len(boxes) == count
    for (left, low, right, high), (left_2, low_2, right_2, high_2) in combinations(boxes, 2):
        assert right <= left_2 or right_2 <= left or high <= low_2 or high_2 <= low


def test_a_name_that_has_no_room_to_the_right_stands_left():
    assert spots({"middle": (200.0, 100.0)})["middle"][0] == 1
    assert spots({"at the right end": (410.0, 100.0)})["at the right end"][0] == -1


def test_every_model_is_named():
    points = {f"model_{index}": (130.0 * 3**index, (0.4, 0.39, 0.41)) for index in range(5)}
    svg = quality_against_cost("cost-x", "hits@3", points, model_styles(points))
    assert all(f">{name}</text>" in svg for name in points)


def test_the_same_points_give_the_same_bytes():
    points = {"two_tower": (130.0, (0.4, 0.39, 0.41)), "cold": (106_240.0, (0.48, 0.46, 0.5))}
    styles = model_styles(points)
    assert quality_against_cost("a", "mrr", points, styles) == quality_against_cost("a", "mrr", points, styles)
