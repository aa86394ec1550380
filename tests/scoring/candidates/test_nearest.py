"""Exact nearest items against a float64 brute force, and against themselves for every way to cut the work."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

import scoring.candidates.nearest as search
from scoring.candidates.exact import exact_dots
from scoring.candidates.nearest import Nearest, Tile, merged, nearest
from scoring.candidates.running import NO_ROW

TILE = Tile(7, 64)


def vectors(rows: int, width: int = 16, seed: int = 1) -> Tensor:
    drawn = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


def cut(items: Tensor, *places: int) -> list[Tensor]:
    return [items[low:high] for low, high in pairwise([0, *places, len(items)])]


def brute_force(queries: Tensor, items: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and scores, ties by row: exact_dots itself says who ties."""
    exact = exact_dots(queries, items.expand(len(queries), -1, -1)).numpy()
    order = np.lexsort((np.broadcast_to(np.arange(len(items)), exact.shape), -exact), axis=1)[:, :k]
    return order, np.take_along_axis(exact, order, axis=1)


def same(one: Nearest, other: Nearest) -> bool:
    return np.array_equal(one.rows, other.rows) and np.array_equal(one.scores, other.scores)


@pytest.mark.parametrize("k", [1, 5, 40, 600])
def test_the_nearest_are_those_of_a_float64_brute_force(k: int):
    queries, items = vectors(20), vectors(500, seed=2)
    found = nearest(queries, [items], k, tile=TILE)
    exact = -np.sort(-(queries.double() @ items.double().T).numpy(), axis=1)[:, :k]
    held = min(k, 500)
    np.testing.assert_allclose(found.scores[:, :held], exact, atol=1e-6)
    assert np.array_equal(found.rows[:, :held], brute_force(queries, items, k)[0])
    assert (found.rows[:, held:] == NO_ROW).all()
    assert np.isneginf(found.scores[:, held:]).all()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tile", [Tile(1, 8), Tile(5, 24), Tile(64, 1000)])
def test_shards_tiles_and_the_precision_of_the_product_change_no_bit(tile: Tile, precision: torch.dtype):
    queries, items = vectors(11), vectors(300, seed=2)
    whole = nearest(queries, [items], 20)
    for shards in (cut(items), cut(items, 1, 150), cut(items, 7, 7, 100, 299)):
        assert same(nearest(queries, shards, 20, precision, tile), whole)


def test_shards_searched_apart_and_merged_are_one_search():
    queries, items = vectors(9), vectors(100, seed=2)
    items[60:80] = items[:20]
    parts = []
    for start, shard in zip((0, 30, 95), cut(items, 30, 95), strict=True):
        found = nearest(queries, [shard], 12, tile=TILE)
        parts.append(Nearest(np.where(found.rows == NO_ROW, NO_ROW, found.rows + start), found.scores))
    assert same(merged(parts, 12), nearest(queries, [items], 12))


def test_equal_scores_are_in_the_order_of_rows_however_many_there_are():
    queries, items = vectors(3), vectors(1, seed=2).repeat(1000, 1)
    items[500] = queries[0]
    rows = nearest(queries, cut(items, 400), 6, tile=Tile(2, 128)).rows.tolist()
    assert rows[0] == [500, 0, 1, 2, 3, 4]
    assert rows[1] in ([0, 1, 2, 3, 4, 5], [500, 0, 1, 2, 3, 4])


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_items_that_get_better_or_worse_along_the_rows_are_found(order: str):
    queries = vectors(4)
    items = queries[0] * torch.linspace(0.1, 2.0, 900).unsqueeze(1)
    if order == "descending":
        items = items.flip(0)
    found = nearest(queries, [items], 10, tile=TILE)
    assert np.array_equal(found.rows, brute_force(queries, items, 10)[0])


def test_a_guess_from_a_sample_is_taken_back_where_it_fails(monkeypatch: pytest.MonkeyPatch):
    queries, items = vectors(3), vectors(8192, seed=2)
    items[0:98:2] = 3 * queries[0]  # 49 good items, all of them in the sample of every second row, and 50 are wanted
    plain = nearest(queries, [items], 50)
    tried = []

    def searched(*args, **named):
        tried.append((len(args[0]), named["guess"]))
        return whole(*args, **named)

    whole = search._searched
    monkeypatch.setattr(search, "_searched", searched)
    monkeypatch.setattr(search, "_GUESSED_FROM", 1)
    assert same(nearest(queries, cut(items, 5000), 50), plain)
    assert tried == [(3, True), (1, False)]


def test_what_is_not_finite_is_nobodys_neighbour_and_has_none():
    queries, items = vectors(3), vectors(40, seed=2)
    queries[1, 0] = torch.nan
    items[3, 2], items[4, 0] = torch.nan, torch.inf
    found = nearest(queries, [items], 40, tile=TILE)
    assert (found.rows[1] == NO_ROW).all()
    assert sorted(found.rows[0].tolist()) == [NO_ROW, NO_ROW, *(row for row in range(40) if row not in (3, 4))]


def test_nothing_in_nothing_out():
    assert nearest(torch.empty(0, 4), [vectors(5, 4)], 3).rows.shape == (0, 3)
    assert nearest(vectors(2, 4), [], 3).rows.tolist() == [[NO_ROW] * 3] * 2
    with pytest.raises(ValueError, match="1 item or more"):
        nearest(vectors(2, 4), [vectors(5, 4)], 0)


@pytest.mark.parametrize("width", [1, 3, 16, 63, 64, 100])
def test_exact_dots_do_not_depend_on_the_batch(width: int):
    queries, items = vectors(5, width), vectors(35, width, seed=2).view(5, 7, width)
    whole = exact_dots(queries, items)
    alone = torch.stack([exact_dots(queries[at : at + 1], items[at : at + 1, :3])[0] for at in range(5)])
    assert torch.equal(whole[:, :3], alone)
    truth = (items.double() * queries.double().unsqueeze(1)).sum(-1)
    torch.testing.assert_close(whole.double(), truth, rtol=0, atol=1e-6)
