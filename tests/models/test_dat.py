from dataclasses import replace

import numpy as np
import pytest
import torch

from models.contract import Cost
from models.dat import DualAugmentedTwoTower, category_alignment
from models.dataset import Export
from models.model_configs import DatConfig
from models.train import train
from tests.models.model_fixture import CONFIG, batch_of, matrix_flops, untrained

PAIRS, WEIGHT = [(0, 0), (0, 1), (1, 3)], [1.0, 3.0, 1.0]
LABELS = [[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
UNUSED = torch.empty(0)


def dat(**settings) -> DualAugmentedTwoTower:
    made = untrained("dat", replace(CONFIG, dat=DatConfig(**settings)))
    assert isinstance(made, DualAugmentedTwoTower)
    return made


def unit(vector: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(vector.detach(), dim=-1).numpy()


def test_augmented_vectors_are_learned_by_id_and_an_unknown_id_has_none():
    model, batch = dat(), batch_of(PAIRS, LABELS)
    q, v = model.encode_query(batch.queries), model.encode_item(batch.items)
    assert torch.equal(q, model.encode_query(batch.queries))
    with torch.no_grad():
        model.query_augmented.weight[2] += 1.0
        model.item_augmented.weight[4] += 1.0
    # The features have ids 1, 2, ..: only the second query and the fourth item changed.
    assert (model.encode_query(batch.queries) != q).any(1).tolist() == [False, True, False]
    assert (model.encode_item(batch.items) != v).any(1).tolist() == [False, False, False, True]
    assert not model.query_augmented.weight[0].any()


def test_the_mimic_loss_is_the_squared_distance_of_positives_to_the_other_side():
    model, batch = dat(mimic_weight=0.5), batch_of(PAIRS, LABELS, WEIGHT)
    q, v = model.encode_query(batch.queries), model.encode_item(batch.items)
    queries, items = q.detach().numpy().reshape(3, 2, -1), v.detach().numpy()
    total = 0.0
    for (query, item), labels, weight in zip(PAIRS, LABELS, WEIGHT, strict=True):
        of_query, of_item = unit(model.query_augmented.weight[query + 1]), unit(model.item_augmented.weight[item + 1])
        for head, (label, share) in enumerate(zip(labels, (0.75, 0.25), strict=True)):
            distance = ((of_query - items[item]) ** 2).sum() + ((of_item - queries[query, head]) ** 2).sum()
            total += weight * share * label * distance
    assert model.auxiliary_loss(batch, q, v, UNUSED).item() == pytest.approx(0.5 * total / sum(WEIGHT), rel=1e-4)


def test_the_mimic_loss_moves_augmented_vectors_only_and_the_score_moves_them_too():
    model, batch = dat().train(), batch_of(PAIRS, LABELS)
    q, v = model.encode_query(batch.queries), model.encode_item(batch.items)
    logits = model.score(q[batch.pair_query], v[batch.pair_item], batch.cross)
    augmented = {"query_augmented.weight", "item_augmented.weight"}
    for loss, only in ((model.auxiliary_loss(batch, q, v, UNUSED), True), (logits.square().sum(), False)):
        model.zero_grad()
        loss.backward(retain_graph=True)
        moved = {name for name, each in model.named_parameters() if each.grad is not None and each.grad.any()}
        assert moved == augmented if only else moved > augmented


def test_category_alignment_is_the_distance_of_covariances_to_the_largest_category_s():
    torch.manual_seed(0)
    # Category 0 is not known, category 9 has one item and thus no covariance.
    v, categories = torch.randn(9, 3), torch.tensor([5, 5, 5, 2, 2, 0, 0, 0, 9])
    found = category_alignment(v, categories).item()

    def covariance(category: int) -> np.ndarray:
        return np.cov(v[categories == category].numpy(), rowvar=False, bias=True)

    assert found == pytest.approx(((covariance(5) - covariance(2)) ** 2).sum(), rel=1e-4)


@pytest.mark.parametrize("categories", [[], [0, 0], [1, 2], [3, 3]])
def test_category_alignment_with_nothing_to_compare_is_zero(categories: list[int]):
    v = torch.randn(len(categories), 3, requires_grad=True)
    loss = category_alignment(v, torch.tensor(categories, dtype=torch.int32))
    loss.backward()
    assert loss.item() == 0.0
    assert not v.grad.any()


def test_category_alignment_joins_the_loss_when_asked_for():
    batch = batch_of(PAIRS, LABELS)
    plain, aligned = dat(), dat(alignment_weight=2.0)
    q, v = plain.encode_query(batch.queries), plain.encode_item(batch.items)
    more = aligned.auxiliary_loss(batch, q, v, UNUSED) - plain.auxiliary_loss(batch, q, v, UNUSED)
    assert more.item() == pytest.approx(2.0 * category_alignment(v, batch.items.categories[:, 0]).item(), rel=1e-4)


def test_augmented_vectors_cost_nothing_per_pair():
    model = dat()
    assert model.cost() == untrained("two_tower").cost() == Cost(2 * CONFIG.dim, 4 * CONFIG.dim)
    q, v = torch.randn(5, 2 * CONFIG.dim), torch.randn(5, CONFIG.dim)
    assert matrix_flops(model, q, v, torch.zeros(5, 0)) == 0


@pytest.mark.parametrize("name", ["mimic_weight", "alignment_weight"])
def test_settings_out_of_range_are_named(name: str):
    with pytest.raises(ValueError, match=name):
        DatConfig(**{name: -0.1})


def test_it_learns(export: Export, config):
    own = DatConfig(alignment_weight=0.1)
    assert train(replace(config, dat=own), export, "dat").metrics["auc"] > 0.6
