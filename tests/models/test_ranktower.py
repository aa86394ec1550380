from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from etl.contract.manifest import TEST
from models.config import TrainConfig
from models.contract import Batch
from models.dataset import Export
from models.errors import TrainingError
from models.features import FeatureSpec
from models.loader import FeatureTables, RequestLoader
from models.model_configs import RankTowerConfig
from models.ranktower import RankTower, listwise
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from models.train import train

Array = np.ndarray


@pytest.fixture(scope="module")
def loader(export: Export, config: TrainConfig) -> RequestLoader:
    return RequestLoader(FeatureTables(FeatureSpec.of(export.manifest, 3, config), export), export.split(TEST), 8)


@pytest.fixture
def batch(loader: RequestLoader) -> Batch:
    return loader.batch(np.arange(8))


@pytest.fixture
def model(loader: RequestLoader, config: TrainConfig) -> RankTower:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return built(loader, replace(config, ranktower=RankTowerConfig(parts=4))).eval()


def built(loader: RequestLoader, config: TrainConfig) -> RankTower:
    numerics = NumericStatistics.fit(loader.tables.items.numerics)
    return RankTower(loader.tables.spec, config, CrossScaling((), (), (), ()), numerics)


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def test_the_score_is_gated_attention_then_the_largest_cosines(model: RankTower, batch: Batch):
    q, v = model.encode_query(batch.queries), model.encode_item(batch.items)
    found = model.score(q[batch.pair_query], v[batch.pair_item], batch.cross).detach().numpy()
    k, w = 4, 4
    weight = functional.softplus(model.fusion_layer.rho).detach().numpy()
    for pair in (0, 9, 40):
        u_row = q[batch.pair_query[pair]].detach().numpy()
        v_row = v[batch.pair_item[pair]].detach().numpy()
        (zu, mu, gu), (zv, mv, gv) = (
            [row[at * k * w : (at + 1) * k * w].reshape(k, w) for at in range(3)] for row in (u_row, v_row)
        )
        logits = mu @ mv.T / w**0.5
        u = zu + u_row[3 * k * w :, None] * (softmax(logits, 1) @ gv)
        i = zv + v_row[3 * k * w :, None] * (softmax(logits, 0).T @ gu)
        u, i = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, i))
        expected = (u @ i.T).max(axis=1) @ weight + model.fusion_layer.bias.detach().numpy()
        np.testing.assert_allclose(found[pair], expected, atol=1e-5)


def test_weights_on_the_cosines_stay_positive(model: RankTower):
    with torch.no_grad():
        model.fusion_layer.rho.fill_(-9.0)
    same = torch.eye(4).unsqueeze(0)
    assert (model.fusion_layer(same, same) > model.fusion_layer(same, -same)).all()


def test_the_listwise_loss_equals_a_softmax_by_request(batch: Batch):
    logits = torch.randn(len(batch.rows), 2, dtype=torch.float64)
    expected = 0.0
    for request in range(len(batch.queries)):
        rows = (batch.pair_query == request).numpy()
        for head in range(2):
            surprise = -np.log(softmax(logits[rows, head].numpy(), 0))
            expected += surprise[batch.labels[rows, head].numpy() > 0].sum()
    assert listwise(logits, batch).item() == pytest.approx(expected / float(batch.total_positives))


def test_the_listwise_loss_ignores_a_shift_of_a_request_and_is_stable(batch: Batch):
    logits = torch.randn(len(batch.rows), 2)
    shift = torch.arange(len(batch.queries))[batch.pair_query].unsqueeze(1) * 100.0
    assert torch.allclose(listwise(logits + shift, batch), listwise(logits, batch), atol=1e-3)


def test_an_empty_part_of_a_step_has_no_loss(model: RankTower, loader: RequestLoader):
    empty = loader.batch(np.arange(0), of_step=np.arange(8))
    q, v = model.encode_query(empty.queries), model.encode_item(empty.items)
    loss = model.auxiliary_loss(empty, q, v, model(empty))
    assert loss is not None
    assert loss.item() == 0.0


def test_the_auxiliary_loss_is_weighted_and_can_be_left_out(model: RankTower, batch: Batch):
    q, v, logits = model.encode_query(batch.queries), model.encode_item(batch.items), model(batch)
    model.score = None  # type: ignore[assignment]  # a pair is scored once a step
    found = model.auxiliary_loss(batch, q, v, logits)
    assert found is not None
    assert found.item() == pytest.approx(model.fine_weight * listwise(logits, batch).item(), rel=1e-5)
    model.fine_weight = 0.0
    assert model.auxiliary_loss(batch, q, v, logits) is None


def test_the_item_side_is_what_the_cost_says(model: RankTower, batch: Batch):
    cost = model.cost()
    assert cost.bytes == 4 * model.encode_item(batch.items).shape[1]
    k, w, heads = 4, 4, 2
    attention, mixes, cosines = 2 * k * k * w, 2 * 2 * k * k * w, 2 * k * k * w
    gated_sums, lengths, logits = 2 * 2 * k * w, 2 * 2 * k * w, 2 * k * heads
    assert cost.flops == attention + mixes + cosines + gated_sums + lengths + k * k + logits


def test_parts_that_do_not_divide_the_width_are_an_error(loader: RequestLoader, config: TrainConfig):
    with pytest.raises(TrainingError, match="16 cannot be cut into 3"):
        built(loader, replace(config, ranktower=RankTowerConfig(parts=3)))


def test_it_learns(export: Export, config: TrainConfig):
    result = train(replace(config, epochs=4), export, "ranktower")
    assert result.metrics["auc"] > 0.55
