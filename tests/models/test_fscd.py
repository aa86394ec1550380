import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from etl.contract.manifest import TEST
from models.config import TrainConfig
from models.contract import Batch
from models.dataset import Export
from models.features import FeatureSpec
from models.fscd import FieldCost, FieldSelection, Fscd, complexity, item_costs, query_costs
from models.loader import FeatureTables, RequestLoader
from models.model_configs import FscdConfig
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from models.train import train
from tests.models.export_fixture import World, write_export

OWN = FscdConfig(field_dim=4, hidden=(8, 6))


@pytest.fixture
def batch(export: Export, config: TrainConfig) -> Batch:
    tables = FeatureTables(FeatureSpec.of(export.manifest, 3, config), export)
    return RequestLoader(tables, export.split(TEST), 8).batch(np.arange(8))


@pytest.fixture
def model(export: Export, config: TrainConfig) -> Fscd:
    spec = FeatureSpec.of(export.manifest, 3, config)
    numerics = NumericStatistics.fit(FeatureTables(spec, export).items.numerics)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        built = Fscd(spec, replace(config, fscd=OWN), CrossScaling.fit(export.split(TEST).cross, spec.cross), numerics)
        torch.nn.init.normal_(built.scorer.cross)
        torch.nn.init.normal_(built.selection.delta, std=0.1)
    return built.eval()


def test_complexity_is_the_weighted_sum_of_relative_costs():
    config = FscdConfig(field_dim=8, online_cost=2.0, cardinality_cost=0.5, width_cost=0.25)
    found = complexity([FieldCost(0.1, 999, 8), FieldCost(0.0, 99, 8), FieldCost(1.0, 0, 1)], config)
    expected = [
        2.0 * 0.1 + 0.5 * 1.0 + 0.25,
        2.0 * 0.0 + 0.5 * math.log(100) / math.log(1000) + 0.25,
        2.0 * 1.0 + 0.5 * 0.0 + 0.25 / 8,
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_every_field_has_a_cost(model: Fscd, export: Export, config: TrainConfig):
    spec = FeatureSpec.of(export.manifest, 3, config)
    assert [len(query_costs(spec, 4)), len(item_costs(spec, 4))] == list(model.counts[:2])


def test_the_prior_weighs_a_field_by_exactly_its_complexity():
    c = torch.tensor([0.3, 1.7])
    theta = 1 - torch.sigmoid(c)
    assert torch.allclose(torch.log(1 - theta) - torch.log(theta), c, atol=1e-6)


def test_while_selecting_fields_are_drawn_by_their_keep_probability_and_keep_their_mean():
    selection = FieldSelection(torch.ones(2000), FscdConfig()).train()
    with torch.no_grad():
        selection.delta.fill_(math.log(0.8 / 0.2) / selection.config.gate_speed)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        selection.draw()
        factors = selection.factors().detach()
    assert torch.allclose(selection.probabilities(), torch.full((2000,), 0.8))
    assert (factors > 0.5 / 0.8).float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert factors.mean().item() == pytest.approx(1.0, abs=0.04)
    assert ((factors < 0.05) | (factors > 0.95 / 0.8)).float().mean() > 0.75


def test_once_selected_the_best_fields_enter_as_they_are_and_stay():
    selection = FieldSelection(torch.ones(4), FscdConfig(kept_share=0.5)).train()
    with torch.no_grad():
        selection.delta.copy_(torch.tensor([0.0, 0.3, -0.2, 0.1]))
    selection.select()
    with torch.no_grad():
        selection.delta.copy_(torch.tensor([9.0, 0.0, 0.0, 0.0]))
    selection.select()
    for mode in (True, False):
        assert selection.train(mode).factors().tolist() == [0.0, 1.0, 0.0, 1.0]
    assert selection.penalty().item() == 2.0
    selection.penalty().backward()
    assert selection.delta.grad is not None
    assert not selection.delta.grad.any()


def test_eval_draws_nothing_and_training_once_a_step(model: Fscd, batch: Batch):
    assert torch.equal(model(batch), model(batch))
    factors = model.train().selection.factors
    model.at_step(0.0)
    first = factors()
    assert torch.equal(factors(), first)
    model.at_step(0.1)
    assert not torch.equal(factors(), first)


def test_a_dropped_field_is_not_read(model: Fscd, batch: Batch):
    kept = {name: model.selection.chosen()[index].item() for index, name in enumerate(model.names)}
    for column, name in enumerate(cross_names(model)):
        other = batch.cross.clone()
        other[:, column] += 1.0
        assert torch.equal(model(replace(batch, cross=other)), model(batch)) == (not kept[name]), name


def cross_names(model: Fscd) -> tuple[str, ...]:
    return model.names[-model.counts[2] :]


def test_the_schedule_settles_on_the_fields_at_the_share_of_steps(model: Fscd):
    model.at_step(0.49)
    assert not model.selection.selected
    model.at_step(0.5)
    assert model.selection.selected
    assert len(model.kept_fields()) == round(0.5 * len(model.names))
    assert model.learned() == {"kept_fields": list(model.kept_fields())}


def test_the_penalty_is_this_ranks_part_of_the_expected_complexity(model: Fscd, batch: Batch):
    d = 1 / (1 + np.exp(-OWN.gate_speed * model.selection.delta.detach().numpy()))
    whole = float((model.selection.complexity.numpy() * d).sum()) / float(batch.total_weight)
    unused = [torch.empty(0)] * 3
    found = model.auxiliary_loss(batch, *unused)
    assert found.item() == pytest.approx(whole, rel=1e-4)
    half = replace(batch, weight=batch.weight[: len(batch.weight) // 2])
    assert model.auxiliary_loss(half, *unused).item() == pytest.approx(whole / 2, rel=1e-4)


def test_the_cost_counts_kept_cross_features_only(model: Fscd, batch: Batch):
    q, v = model.encode_query(batch.queries)[batch.pair_query], model.encode_item(batch.items)[batch.pair_item]
    with FlopCounterMode(display=False) as counter:
        model.score(q, v, batch.cross)
    kept = sum(name in cross_names(model) for name in model.kept_fields())
    assert 0 < kept < batch.cross.shape[1]
    assert model.cost().flops - 2 * 8 == counter.get_total_flops() / len(batch.rows)
    assert model.cost().bytes == 4 * 8 + 4 * kept


def test_it_learns_and_a_higher_price_of_complexity_buys_cheaper_fields(export: Export, config: TrainConfig):
    def trained(complexity_weight: float) -> Fscd:
        own = FscdConfig(complexity_weight=complexity_weight)
        result = train(replace(config, epochs=6, learning_rate=0.005, fscd=own), export, "fscd")
        assert result.metrics["auc"] > 0.6
        assert isinstance(result.model, Fscd)
        return result.model

    free, dear = trained(0.0), trained(300.0)
    free_cost, dear_cost = (float(model.selection.complexity[model.selection.kept].sum()) for model in (free, dear))
    assert dear_cost < free_cost
    # What is dearest is what a pair reads: cross features.
    assert dear.cost().flops < free.cost().flops
    assert len(dear.kept_fields()) == len(free.kept_fields())


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_epochs_are_judged_and_patience_counted_once_fields_are_selected(share: float, tmp_path, config: TrainConfig):
    small = Export(write_export(tmp_path / "data", World(requests=(60, 20, 20), items=30, queries=8, users=10)))
    own = FscdConfig(selection_share=share)
    # At this rate a selecting model would not be better epoch after epoch.
    result = train(replace(config, epochs=4, patience=1, learning_rate=0.1, fscd=own), small, "fscd")
    assert isinstance(result.model, Fscd)
    assert result.model.selection.selected
    assert result.best_epoch >= math.ceil(4 * share)
    assert result.metrics["ndcg@10"] == result.curve[result.best_epoch - 1]["validation_ndcg@10"]


@pytest.mark.parametrize(
    "wrong", [{"kept_share": 0.0}, {"selection_share": 1.5}, {"online_cost": -1.0}, {"temperature": 0.0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FscdConfig(**wrong)
