from dataclasses import replace

import numpy as np
import pytest
import torch

from models.dataset import Export
from models.hit import Hit, mimic_loss
from models.model_configs import HitConfig
from models.train import train
from tests.models.model_fixture import CONFIG, batch_of, untrained

PAIRS, WEIGHT = [(0, 0), (0, 1), (1, 3)], [1.0, 3.0, 1.0]
LABELS = [[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
UNUSED = torch.empty(0)
MIMIC = 2 * 4


def hit(**settings) -> Hit:
    made = untrained("hit", replace(CONFIG, hit=HitConfig(**{"heads": 2, "head_dim": 4} | settings)))
    assert isinstance(made, Hit)
    return made


def cosine(one: np.ndarray, two: np.ndarray) -> float:
    return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))


def test_a_positive_pulls_the_positive_generator_to_the_other_side_and_a_negative_pushes_the_other_one_away():
    target = torch.tensor([[[0.0, 1.0]]])
    for label, towards in ((1.0, [1.0, 0.0]), (0.0, [0.0, -1.0])):
        mimics = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]], requires_grad=True)
        mimic_loss(mimics, target, torch.tensor([[label]])).sum().backward()
        # A step against the gradient moves along the target or against it; the other generator stays.
        assert (-mimics.grad[0, :, 1]).tolist() == towards


def test_the_mimic_loss_is_the_weighted_mean_over_pairs_of_both_sides():
    model, batch = hit(mimic_weight=0.5).train(), batch_of(PAIRS, LABELS, WEIGHT)
    q, v = model.encode_query(batch.queries), model.encode_item(batch.items)
    queries, items = q.detach().numpy(), v.detach().numpy()
    total = 0.0
    for (query, item), labels, weight in zip(PAIRS, LABELS, WEIGHT, strict=True):
        for head, (label, share) in enumerate(zip(labels, (0.75, 0.25), strict=True)):
            mine, theirs = queries[query], items[item]
            spoken, said = mine[head * MIMIC : (head + 1) * MIMIC], theirs[:MIMIC]
            for mimics, target in ((mine[2 * MIMIC :], said), (theirs[MIMIC:], spoken)):
                plus, minus = cosine(mimics[:MIMIC], target), cosine(mimics[MIMIC:], target)
                total += weight * share * (label * (1 - plus) + (1 - label) * minus)
    assert model.auxiliary_loss(batch, q, v, UNUSED).item() == pytest.approx(0.5 * total / sum(WEIGHT), rel=1e-4)


def test_the_mimic_loss_trains_generators_only_and_the_score_does_not_train_them():
    model, batch = hit().train(), batch_of(PAIRS, LABELS)
    q, v = model.encode_query(batch.queries), model.encode_item(batch.items)
    logits = model.score(q[batch.pair_query], v[batch.pair_item], batch.cross)
    for loss, of_generators in (
        (model.auxiliary_loss(batch, q, v, UNUSED), True),
        (logits.square().sum(), False),
    ):
        model.zero_grad()
        loss.backward(retain_graph=True)
        trained = {name for name, each in model.named_parameters() if each.grad is not None and each.grad.any()}
        generators = {name for name, _ in model.named_parameters() if ".generators." in name}
        assert trained <= generators if of_generators else not trained & generators
        assert trained


def test_what_the_generators_say_is_heard_by_their_own_tower():
    model, batch = hit(), batch_of(PAIRS, LABELS)
    before = model.encode_query(batch.queries), model.encode_item(batch.items)
    for tower, side in ((model.query_tower, 0), (model.item_tower, 1)):
        with torch.no_grad():
            tower.generators.negative[-1].bias += torch.arange(float(MIMIC))
        after = model.encode_query(batch.queries), model.encode_item(batch.items)
        assert not torch.equal(after[side], before[side])
        assert torch.equal(after[1 - side], before[1 - side])
        before = after


def test_history_and_numbers_are_not_static():
    model, batch = hit().train(), batch_of(PAIRS, LABELS)
    blind = replace(batch.queries, history_action=torch.zeros_like(batch.queries.history_action))
    free = replace(batch.items, numerics=torch.zeros_like(batch.items.numerics))
    for encode, one, two, width in (
        (model.encode_query, batch.queries, blind, 2 * MIMIC),
        (model.encode_item, batch.items, free, MIMIC),
    ):
        assert torch.equal(encode(one)[:, width:], encode(two)[:, width:])
        assert not torch.equal(encode(one)[:, :width], encode(two)[:, :width])


def test_a_served_side_holds_no_mimics():
    model, batch = hit(), batch_of(PAIRS, LABELS)
    q, v = model.encode_query(batch.queries), model.encode_item(batch.items)
    assert (q.shape, v.shape) == ((3, 2 * MIMIC), (4, MIMIC))
    assert model.cost().bytes == 4 * v.shape[1]
    assert model.auxiliary_loss(batch, q, v, UNUSED) is None


@pytest.mark.parametrize("settings", [{"heads": 0}, {"head_dim": 0}, {"mimic_weight": 0.0}])
def test_settings_out_of_range_are_named(settings: dict):
    with pytest.raises(ValueError, match=next(iter(settings))):
        HitConfig(**settings)


def test_it_learns(export: Export, config):
    result = train(replace(config, hit=HitConfig(head_dim=8)), export, "hit")
    assert result.metrics["auc"] > 0.6
    assert result.curve[-1]["loss"] < result.curve[0]["loss"]
