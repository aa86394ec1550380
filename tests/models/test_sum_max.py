import numpy as np
import pytest
import torch

from models.contract import Cost
from models.sum_max import HiddenLayers, Representer, SumMaxRanker, text_projection
from tests.models.model_fixture import CONFIG, matrix_flops

PAIRS, QUERY_VECTORS, ITEM_VECTORS, WIDTH = 5, 3, 2, 4


@pytest.fixture
def ranker() -> SumMaxRanker:
    made = SumMaxRanker((2.0, 1.0), query_vectors=QUERY_VECTORS, item_vectors=ITEM_VECTORS, head_dim=WIDTH)
    made.start_at(torch.tensor([0.5, 0.2]))
    return made


def sides() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return (
        torch.randn(PAIRS, 2 * QUERY_VECTORS * WIDTH),
        torch.randn(PAIRS, ITEM_VECTORS * WIDTH),
        torch.zeros(PAIRS, 0),
    )


def test_a_score_is_the_scaled_mean_of_the_best_matches_of_the_query_s_vectors(ranker: SumMaxRanker):
    q, v, cross = sides()
    found = ranker.score(q, v, cross).detach().numpy()
    for pair in range(PAIRS):
        items = v[pair].numpy().reshape(ITEM_VECTORS, WIDTH)
        for head, bias in enumerate((0.0, np.log(0.2 / 0.8))):
            queries = q[pair].numpy().reshape(2, QUERY_VECTORS, WIDTH)[head]
            best = [max(float(u @ item) for item in items) for u in queries]
            assert found[pair, head] == pytest.approx(4.0 * np.mean(best) + bias, rel=1e-4)


def test_further_columns_of_a_side_do_not_count(ranker: SumMaxRanker):
    q, v, cross = sides()
    longer = (torch.cat([side, torch.ones(PAIRS, 7)], dim=1) for side in (q, v))
    assert torch.equal(ranker.score(*longer, cross), ranker.score(q, v, cross))


def test_the_scale_stays_positive(ranker: SumMaxRanker):
    with torch.no_grad():
        ranker.fusion_layer.rho.fill_(-5.0)
    assert 0 < ranker.fusion_layer(torch.ones(1, 2))[0, 0] < 0.01


def test_the_cost_is_what_the_score_multiplies_and_the_few_steps_beside(ranker: SumMaxRanker):
    flops = matrix_flops(ranker, *sides()) / PAIRS
    assert flops == 2 * 2 * QUERY_VECTORS * ITEM_VECTORS * WIDTH
    assert ranker.cost() == Cost(
        flops=int(flops) + 2 * (QUERY_VECTORS * ITEM_VECTORS + 2), bytes=4 * ITEM_VECTORS * WIDTH
    )


@pytest.mark.parametrize(
    ("vectors", "heads", "width", "flops", "size"),
    [(6, 2, 64, 1548, 512), (96, 32, 64, 396_288, 8192), (2, 2, 16, 132, 128)],
)
def test_the_cost_of_the_published_sizes_is_the_known_one(vectors: int, heads: int, width: int, flops: int, size: int):
    scale_and_bias = 2
    assert SumMaxRanker((1.0,), vectors, heads, width).cost() == Cost(flops + scale_and_bias, size)


def test_vectors_have_length_one_and_equal_texts_look_alike_at_the_start():
    torch.manual_seed(0)
    text = torch.nn.functional.normalize(torch.randn(3, CONFIG.dim), dim=-1)
    project, heads = text_projection(CONFIG.dim, 12), Representer(10, 2, 12)
    one, two = (heads(torch.randn(3, 10), project(text)) for _ in range(2))
    assert torch.allclose(one.norm(dim=-1), torch.ones(3, 2), atol=1e-6)
    assert torch.allclose(project(text) @ project(text).T, text @ text.T, atol=1e-5)
    assert (one * two).sum(-1).mean() > 0.6


def test_hidden_layers_give_their_input_and_every_output():
    layers = HiddenLayers(10, CONFIG).eval()
    outputs = layers(torch.randn(3, 10))
    assert [output.shape for output in outputs] == [(3, width) for width in layers.widths] == [(3, 10), (3, 12)]
