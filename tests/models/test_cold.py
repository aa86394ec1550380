from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from etl.contract.manifest import TEST
from models.cold import Cold, FieldGates
from models.config import TrainConfig
from models.dataset import Export
from models.features import FeatureSpec
from models.loader import FeatureTables, RequestLoader
from models.model_configs import ColdConfig
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from models.train import train


def test_a_gate_weighs_its_field_and_sees_all_of_them():
    gates = FieldGates(fields=2, width=3)
    fields = torch.randn(4, 2, 3)
    weight, bias = gates.gate.weight.detach().numpy(), gates.gate.bias.detach().numpy()
    flat = fields.numpy().reshape(4, 6)
    share = 1 / (1 + np.exp(-(flat @ weight.T + bias)))
    np.testing.assert_allclose(gates(fields).detach().numpy(), fields.numpy() * share[:, :, None], atol=1e-6)
    other = fields.clone()
    other[:, 1] += 1.0
    assert not torch.allclose(gates(other)[:, 0], gates(fields)[:, 0])


def test_the_cost_is_what_a_flop_counter_finds(export: Export, config: TrainConfig):
    spec = FeatureSpec.of(export.manifest, 3, config)
    tables = FeatureTables(spec, export)
    scaling = CrossScaling.fit(export.split(TEST).cross, spec.cross)
    own = replace(config, cold=ColdConfig(field_dim=4, hidden=(12, 10, 6)))
    model = Cold(spec, own, scaling, NumericStatistics.fit(tables.items.numerics)).eval()
    batch = RequestLoader(tables, export.split(TEST), 4).batch(np.arange(4))
    q, v = model.encode_query(batch.queries)[batch.pair_query], model.encode_item(batch.items)[batch.pair_item]
    with FlopCounterMode(display=False) as counter:
        model.score(q, v, batch.cross)
    sums = 2 * 12
    assert model.cost().flops - sums == counter.get_total_flops() / len(batch.rows)
    assert model.cost().bytes == 4 * v.shape[1] + 4 * batch.cross.shape[1]


def test_it_learns(export: Export, config: TrainConfig):
    result = train(replace(config, epochs=4, learning_rate=0.005), export, "cold")
    assert result.metrics["auc"] > 0.65
    assert result.curve[-1]["loss"] < result.curve[0]["loss"]


@pytest.mark.parametrize("hidden", [(), (0,), (8, 0)])
def test_layers_of_no_width_are_refused(hidden: tuple[int, ...]):
    with pytest.raises(ValueError, match="hidden"):
        ColdConfig(hidden=hidden)
