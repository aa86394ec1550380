import numpy as np
import pytest
import torch

from models.scaling import CrossScaling
from models.split_scorer import SplitScorer

SCALING = CrossScaling(("a", "b"), (2.0, 1.0), (0.1, 0.2), (0.5, 1.0))


@pytest.fixture
def scorer() -> SplitScorer:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        built = SplitScorer((5, 3), SCALING, (4, 6), heads=2, dropout=0.5)
        torch.nn.init.normal_(built.cross)
    return built.eval()


def test_the_halves_add_up_to_one_layer_over_the_concatenated_inputs(scorer: SplitScorer):
    query, item, cross = torch.randn(7, 5), torch.randn(7, 3), torch.rand(7, 2)
    (query_norm, query_layer), (item_norm, item_layer) = scorer.query, scorer.item
    whole = torch.cat([query_layer.weight, item_layer.weight, scorer.cross], dim=1).detach().numpy()
    x = torch.cat([query_norm(query), item_norm(item), scorer.scaled(cross)], dim=1).detach().numpy()
    hidden = np.maximum(x @ whole.T + query_layer.bias.detach().numpy(), 0)
    second = scorer.layers[2]
    hidden = np.maximum(hidden @ second.weight.detach().numpy().T + second.bias.detach().numpy(), 0)
    expected = hidden @ scorer.last.weight.detach().numpy().T + scorer.last.bias.detach().numpy()
    found = scorer(scorer.query(query), scorer.item(item), scorer.scaled(cross))
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5)


def test_cross_features_are_scaled_as_recorded(scorer: SplitScorer):
    cross = np.array([[0.3, 4.0], [0.0, -1.0]], dtype=np.float32)
    np.testing.assert_allclose(scorer.scaled(torch.from_numpy(cross)).numpy(), SCALING.apply(cross), atol=1e-6)


def test_some_columns_count_as_the_others_being_zero(scorer: SplitScorer):
    q, v, scaled = torch.randn(4, 4), torch.randn(4, 4), torch.randn(4, 2)
    some = scorer(q, v, scaled[:, [1]], torch.tensor([1]))
    assert torch.allclose(some, scorer(q, v, scaled * torch.tensor([0.0, 1.0])), atol=1e-6)


def test_it_works_without_cross_features():
    scorer = SplitScorer((5, 3), CrossScaling((), (), (), ()), (4,), heads=1, dropout=0.0)
    assert scorer(torch.randn(3, 4), torch.randn(3, 4), scorer.scaled(torch.zeros(3, 0))).shape == (3, 1)
    assert scorer.cost(0).bytes == 16
