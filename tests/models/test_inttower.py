from dataclasses import replace

import numpy as np
import pytest
import torch

from models.dataset import Export
from models.inttower import IntTower, LightSE
from models.model_configs import IntTowerConfig
from models.train import train
from tests.models.model_fixture import CONFIG, SPEC, batch_of, untrained

PAIRS = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 3)]
LABELS = [[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
UNUSED = torch.empty(0)


def inttower(**settings) -> IntTower:
    made = untrained("inttower", replace(CONFIG, inttower=IntTowerConfig(**{"heads": 2, "head_dim": 4} | settings)))
    assert isinstance(made, IntTower)
    return made


def test_light_se_adds_each_field_times_the_softmax_of_mixed_field_means():
    torch.manual_seed(0)
    gate, fields = LightSE(3), torch.randn(2, 3, 4)
    found, mix = gate(fields).detach().numpy(), gate.linear.weight.detach().numpy()
    for row, field in np.ndindex(2, 3):
        means = fields[row].numpy().mean(axis=1)
        exponentials = np.exp(mix @ means)
        expected = fields[row, field].numpy() * (1 + exponentials[field] / exponentials.sum())
        np.testing.assert_allclose(found[row, field], expected, rtol=1e-5)


def test_every_layer_of_the_query_tower_meets_the_item_s_heads():
    deep = untrained("inttower", replace(CONFIG, hidden=(12, 10)))
    assert (deep.query_vectors, deep.item_vectors) == (3 * 2, 2)
    model, batch = inttower(), batch_of(PAIRS, LABELS)
    q, v = model.encode_query(batch.queries), model.encode_item(batch.items)
    assert (q.shape, v.shape) == ((3, 2 * 2 * 2 * 4), (4, 2 * 4))
    before = model.query_side(q)
    for layer, heads in enumerate(model.query_heads):
        with torch.no_grad():
            heads.linear.bias += 1.0
        after = model.query_side(model.encode_query(batch.queries))
        changed = (after != before).any(-1).all(0)  # (H, L*I)
        assert changed.flatten().tolist() == 2 * [index // 2 == layer for index in range(4)]
        before = after


def test_cir_is_the_softmax_of_a_positive_over_its_request_s_pairs():
    model = inttower(cir_weight=0.5, cir_temperature=0.3)
    batch = batch_of(PAIRS, LABELS)
    q, v = model.encode_query(batch.queries), model.encode_item(batch.items)
    vectors, items = model.query_side(q).detach().numpy(), model.item_side(v).detach().numpy()

    def logit(query: int, item: int, head: int) -> float:
        u, w = vectors[query, head, -2:].mean(axis=0), items[item].mean(axis=0)
        return float(u @ w / np.linalg.norm(u) / np.linalg.norm(w) / 0.3)

    total = 0.0
    for (query, item), labels in zip(PAIRS, LABELS, strict=True):
        for head in (head for head, label in enumerate(labels) if label):
            shown = [np.exp(logit(query, other, head)) for owner, other in PAIRS if owner == query]
            total -= logit(query, item, head) - np.log(sum(shown))
    assert model.auxiliary_loss(batch, q, v, UNUSED).item() == pytest.approx(0.5 * total / 3, rel=1e-4)


def test_cir_is_off_by_default():
    batch, model = batch_of(PAIRS, LABELS), inttower()
    q, v = model.encode_query(batch.queries), model.encode_item(batch.items)
    assert model.auxiliary_loss(batch, q, v, UNUSED) is None


def test_cir_of_no_positives_and_of_no_pairs_is_zero():
    model = inttower(cir_weight=1.0, cir_temperature=0.01)
    for batch in (batch_of(PAIRS, [[0.0, 0.0]] * 5), batch_of([], [])):
        q, v = model.encode_query(batch.queries), model.encode_item(batch.items)
        assert model.auxiliary_loss(batch, q, v, UNUSED).item() == 0.0


def test_one_label_reads_the_same_item_side():
    single = replace(SPEC, heads=("engagement",), head_weights=(1.0,))
    assert untrained("inttower", spec=single).cost().bytes == untrained("inttower").cost().bytes


@pytest.mark.parametrize("settings", [{"heads": 0}, {"head_dim": 0}, {"cir_weight": -1.0}, {"cir_temperature": 0.0}])
def test_settings_out_of_range_are_named(settings: dict):
    with pytest.raises(ValueError, match=next(iter(settings))):
        IntTowerConfig(**settings)


def test_it_learns(export: Export, config):
    own = IntTowerConfig(heads=2, head_dim=16, cir_weight=0.1)
    assert train(replace(config, inttower=own), export, "inttower").metrics["auc"] > 0.6
