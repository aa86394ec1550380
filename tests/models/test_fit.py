"""FIT against numpy on its equations, and against itself at the limits of its temperature."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from etl.contract.errors import UsageError
from etl.contract.manifest import TEST
from etl.contract.settings import build
from models.config import TrainConfig
from models.contract import Batch
from models.dataset import Export
from models.errors import TrainingError
from models.features import FeatureSpec
from models.fit import Fit, MetaQueries, SimilarityScorer, TargetAttention
from models.interactrank_fit import InteractRankFit
from models.loader import FeatureTables, RequestLoader
from models.model_configs import FitConfig
from models.registry import get_model
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from models.train import train

# 6 meta queries, 2 x 4 heads of width 4.
FIT = FitConfig(meta_queries=6, user_heads=2, item_heads=4, scorer_width=8, attention_hidden=3)


@pytest.fixture(scope="module")
def small(config: TrainConfig) -> TrainConfig:
    return replace(config, fit=FIT)


@pytest.fixture(scope="module")
def loader(export: Export, small: TrainConfig) -> RequestLoader:
    return RequestLoader(FeatureTables(FeatureSpec.of(export.manifest, 3, small), export), export.split(TEST), 16)


def _model(name: str, loader: RequestLoader, config: TrainConfig) -> Fit:
    spec = loader.tables.spec
    scaling = CrossScaling.fit(loader.rows.cross, spec.cross)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = get_model(name)(spec, config, scaling, NumericStatistics.fit(loader.tables.items.numerics))
    assert isinstance(model, Fit)
    return model.eval()


@pytest.fixture
def model(loader: RequestLoader, small: TrainConfig) -> Fit:
    return _model("fit", loader, small)


@pytest.fixture
def batch(loader: RequestLoader) -> Batch:
    return loader.batch(np.arange(16))


def _plain(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def _calm(model: Fit) -> Fit:
    """In training mode, without anything random."""
    model.tables.id_dropout = 0.0
    for part in model.train().modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return model


@torch.no_grad()
def test_the_scorer_is_row_wise_then_column_wise_layers_over_the_similarities():
    scorer = SimilarityScorer(user_heads=2, item_heads=3, head_dim=4, width=5, heads=2)
    user, item = torch.randn(7, 8), torch.randn(7, 12)
    rows, columns, out = (
        (_plain(part.weight), _plain(part.bias)) for part in (scorer.rows, scorer.columns, scorer.out)
    )
    scale = np.log1p(np.exp(float(scorer.rho)))
    for z_u, z_v, logits in zip(_plain(user), _plain(item), _plain(scorer(user, item)), strict=True):
        s = scale * z_u.reshape(2, 4) @ z_v.reshape(3, 4).T
        s_1 = np.maximum(s @ rows[0].T + rows[1], 0)
        s_2 = np.maximum(s_1.T @ columns[0].T + columns[1], 0)
        np.testing.assert_allclose(logits, out[0] @ s_2.ravel() + out[1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_wide_enough_scorer_starts_close_to_the_dot_product_of_both_sides():
    torch.manual_seed(0)
    scorer = SimilarityScorer(user_heads=4, item_heads=4, head_dim=8, width=8, heads=1)
    user, item = (torch.nn.functional.normalize(torch.randn(500, 32), dim=1) for _ in range(2))
    dots = (user * item).sum(1)
    assert np.corrcoef(scorer(user, item)[:, 0].numpy(), dots.numpy())[0, 1] > 0.98
    for layer in (scorer.rows, scorer.columns, scorer.out):
        # Without the random tenth.
        layer.weight.copy_(torch.where(layer.weight.abs() < 0.2, 0.0, layer.weight.sign()))
    torch.nn.init.zeros_(scorer.out.bias)
    scale = torch.nn.functional.softplus(scorer.rho)
    assert torch.allclose(scorer(user, item)[:, 0], scale * dots, atol=1e-4)


@torch.no_grad()
def test_meta_queries_and_shares_follow_their_equations(model: Fit, batch: Batch):
    meta: MetaQueries = model.meta
    q = _plain(meta.queries)
    np.testing.assert_allclose(_plain(meta.group()), q @ q.T @ q, atol=1e-6)
    assert torch.allclose(meta.targets().norm(dim=1), torch.full((6,), 4.0), atol=1e-2)
    affinity = meta.affinity(model.tables, batch.items)
    model.at_step(0.375)
    scaled = _plain(affinity) / (1 - 0.5 * (1 - FIT.tau_min))
    powers = np.exp(scaled - scaled.max(1, keepdims=True))
    np.testing.assert_allclose(_plain(meta.shares(affinity)), powers / powers.sum(1, keepdims=True), rtol=1e-4)


@torch.no_grad()
def test_attention_is_a_layer_over_target_entry_difference_and_product():
    torch.manual_seed(1)
    attention = TargetAttention(dim=4, hidden=3)
    targets, entries = torch.randn(2, 4), torch.randn(3, 5, 4)
    seen = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]).bool()
    found = _plain(attention(targets, entries, seen))
    # [t, s, t - s, t * s] with any weight on the difference: it moves between those of t and s.
    of_t, of_s, of_product = (
        _plain(part) for part in (attention.of_target.weight, attention.of_entry.weight, attention.of_product)
    )
    of_difference = np.random.default_rng(0).normal(size=of_t.shape)
    weight = np.concatenate([of_t - of_difference, of_s + of_difference, of_difference, of_product], axis=1)
    for r, length in enumerate((3, 5, 0)):
        for m, t in enumerate(_plain(targets)):
            rows = _plain(entries[r, :length])
            pairs = [np.concatenate([t, s, t - s, t * s]) for s in rows]
            hidden = [np.maximum(weight @ pair + _plain(attention.of_target.bias), 0) for pair in pairs]
            powers = np.exp([float(_plain(attention.out.weight)[0] @ h) for h in hidden])
            expected = powers / powers.sum() @ rows if length else np.zeros(4)
            np.testing.assert_allclose(found[r, m], expected, atol=1e-5)


@torch.no_grad()
def test_sides_hold_what_their_layouts_say(model: Fit, batch: Batch):
    q, v = model.encode_query(batch.queries), model.encode_item(batch.items)
    assert q.shape == (16, 6 * 2 * 4)
    assert torch.allclose(q.unflatten(1, (6, 8)).norm(dim=2), torch.ones(16, 6), atol=1e-5)
    assert v.shape == (len(batch.items), 16 + 1)
    assert torch.allclose(v[:, :16].norm(dim=1), torch.ones(len(v)), atol=1e-5)
    soft = _calm(model).encode_item(batch.items)
    assert soft.shape == (len(batch.items), 16 + 6)
    assert torch.equal(soft[:, :16], v[:, :16])
    assert torch.allclose(soft[:, 16:].sum(1), torch.ones(len(v)))
    assert torch.equal(soft[:, 16:].argmax(1), v[:, 16].long())
    assert len(v[:, 16].unique()) > 1


@torch.no_grad()
def test_eval_is_the_limit_of_training_at_temperature_0(model: Fit, batch: Batch):
    hard = model(batch)
    model.meta.tau.fill_(1.0)
    far = (_calm(model)(batch) - hard).abs().max()
    model.meta.tau.fill_(1e-6)
    near = (model(batch) - hard).abs().max()
    assert near < 1e-3 < far


@torch.no_grad()
def test_soft_and_hard_agree_more_as_the_temperature_falls(model: Fit, batch: Batch):
    agreement = []
    for share in (0.0, 0.5, 0.7, 0.75, 1.0):
        model.at_step(share)
        agreement.append(model.watched(batch)["soft_hard_agreement"])
    assert agreement == sorted(agreement)
    assert agreement[0] < 0.999
    assert agreement[-1] == pytest.approx(1, abs=1e-4)
    assert agreement[-1] == agreement[-2]


@torch.no_grad()
def test_the_temperature_falls_linearly_and_stays(model: Fit):
    taus = []
    for share in (0.0, 0.375, 0.75, 0.9):
        model.at_step(share)
        taus.append(float(model.meta.tau))
    assert taus == pytest.approx([1.0, (1 + FIT.tau_min) / 2, FIT.tau_min, FIT.tau_min])
    assert "meta.tau" not in model.state_dict()


@torch.no_grad()
def test_entropy_and_runs_tell_how_the_meta_queries_are_used(model: Fit, batch: Batch, monkeypatch: pytest.MonkeyPatch):
    def picking(index: Tensor) -> dict[str, float]:
        affinity = torch.nn.functional.one_hot(index, 6).float()
        monkeypatch.setattr(model.meta, "affinity", lambda tables, items: affinity)
        return model.watched(batch)

    count = len(batch.items)
    collapsed = picking(torch.full((count,), 3))
    assert collapsed["index_entropy"] == 0
    assert collapsed["indices_per_request"] == 1
    index = torch.arange(count) % 6
    spread = picking(index)
    shares = np.bincount(index.numpy()) / count
    assert spread["index_entropy"] == pytest.approx(-(shares * np.log(shares)).sum() / np.log(6))
    runs = {(int(r), int(index[i])) for r, i in zip(batch.pair_query, batch.pair_item, strict=True)}
    assert spread["indices_per_request"] == pytest.approx(len(runs) / 16)
    assert spread["meta_query_norm"] == pytest.approx(np.linalg.norm(_plain(model.meta.group()), axis=1).mean())


@torch.no_grad()
@pytest.mark.parametrize("name", ["fit", "interactrank_fit"])
def test_a_request_needs_one_run_of_the_tower_per_distinct_index(name: str, loader: RequestLoader, small: TrainConfig):
    model, one = _model(name, loader, small), loader.batch(np.array([4]))
    runs: list[torch.Size] = []
    model.user_tower.layers.register_forward_pre_hook(lambda _, given: runs.append(given[0].shape[:2]))
    v = model.encode_item(one.items)
    distinct, place = v[:, 16].long().unique(return_inverse=True)
    served = model.served_vectors(one.queries, distinct)
    assert runs == [(1, len(distinct))]
    assert len(distinct) < 6
    every = model.encode_query(one.queries).unflatten(1, (6, 8))
    assert torch.allclose(served, every[:, distinct], atol=1e-6)
    logits = model.scorer(served[0, place], v[:, :16])[one.pair_item]
    if isinstance(model, InteractRankFit):
        logits = logits + model.fusion_layer.cross_logit(one.cross)
    assert torch.allclose(logits, model(one), atol=1e-4)


@torch.no_grad()
def test_cost_is_what_a_counter_finds_for_one_output(model: Fit, batch: Batch):
    q, v = model.encode_query(batch.queries)[batch.pair_query], model.encode_item(batch.items)[batch.pair_item]
    with FlopCounterMode(display=False) as counter:
        model.score(q, v, batch.cross)
    other_heads = 2 * 8 * 8 * (model.heads - 1)
    assert counter.get_total_flops() == len(q) * (model.cost().flops + other_heads)
    assert model.cost().bytes == 4 * v.shape[1]


def test_cost_equals_the_notes_for_their_sizes():
    assert SimilarityScorer(user_heads=4, item_heads=4, head_dim=32, width=8, heads=1).flops() == 1920
    assert SimilarityScorer(user_heads=2, item_heads=2, head_dim=64, width=4, heads=1).flops() == 640


def test_cross_features_add_their_weighted_sum_to_the_logit(loader: RequestLoader, small: TrainConfig, batch: Batch):
    model = _model("interactrank_fit", loader, small)
    without = model(batch)
    weight = np.array([0.5, -1.0, 2.0, 0.25])
    with torch.no_grad():
        model.fusion_layer.weight.copy_(torch.from_numpy(weight))
    scaled = CrossScaling.fit(loader.rows.cross, loader.tables.spec.cross).apply(batch.cross.numpy())
    np.testing.assert_allclose(_plain(model(batch) - without), np.tile(scaled @ weight, (2, 1)).T, atol=1e-3)
    assert model.cost().flops == _model("fit", loader, small).cost().flops + 1


def test_every_weight_learns_from_the_first_step_on(loader: RequestLoader, small: TrainConfig, batch: Batch):
    model = _calm(_model("interactrank_fit", loader, small))
    torch.nn.functional.binary_cross_entropy_with_logits(model(batch), batch.labels).backward()
    still = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert still == []


def test_no_pairs_give_no_logits_and_a_gradient(loader: RequestLoader, small: TrainConfig):
    empty = loader.batch(np.array([], dtype=np.int64))
    model = _model("interactrank_fit", loader, small).train()
    logits = model(empty)
    assert logits.shape == (0, 2)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_it_learns_with_figures_of_its_parts_and_cross_features_add(export: Export, small: TrainConfig):
    said: list[str] = []
    longer = replace(small, epochs=12, patience=12)
    fit = train(longer, export, "fit", log=said.append)
    both = train(longer, export, "interactrank_fit")
    assert fit.metrics["auc"] > 0.6
    assert both.metrics["auc"] > fit.metrics["auc"] + 0.05
    assert 0 < fit.curve[0]["index_entropy"] <= 1
    assert fit.curve[-1]["soft_hard_agreement"] > 0.999
    assert "soft_hard_agreement=" in said[-1]


def test_heads_that_do_not_divide_the_width_are_refused(loader: RequestLoader, small: TrainConfig):
    with pytest.raises(TrainingError, match=r"train\.fit\.item_heads is 3 and train\.dim is 16"):
        _model("fit", loader, replace(small, fit=replace(FIT, item_heads=3)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"meta_queries": 1}, "2 or more"), ({"tau_min": 0.0}, "tau_min"), ({"tau_share": 1.5}, "tau_share")],
)
def test_wrong_settings_name_themselves(wrong: dict[str, float], message: str):
    with pytest.raises(UsageError, match=message):
        build(TrainConfig, {"fit": wrong})
    assert build(TrainConfig, {"fit": {"meta_queries": 16}}).fit == FitConfig(meta_queries=16)
