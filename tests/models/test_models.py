"""What every model promises, for each of them."""

import contextlib
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from etl.contract.errors import UnknownNameError
from etl.contract.manifest import TEST
from models.cli import TRAINABLE
from models.config import TrainConfig
from models.contract import Batch, Cost, Ranker
from models.dataset import Export
from models.distributed import Ranks
from models.features import FeatureSpec
from models.fscd import Fscd
from models.fusion import LinearFusionRanker
from models.loader import FeatureTables, RequestLoader
from models.model_configs import FscdConfig
from models.objective import Objective
from models.registry import MODELS, get_model
from models.scaling import CrossScaling
from models.towers import NumericStatistics

WEIGHTS_THAT_START_AT_0 = ("fusion_layer.weight", "fusion_layer.bias", "scorer.cross")
WITHOUT_HISTORY = {"two_tower"}
WITH_CROSS = {"interactrank", "interactrank_fit", "cold", "fscd"}


@pytest.fixture(scope="module")
def loader(export: Export, config: TrainConfig) -> RequestLoader:
    tables = FeatureTables(FeatureSpec.of(export.manifest, 3, config), export)
    return RequestLoader(tables, export.split(TEST), 16)


@pytest.fixture(params=sorted(MODELS))
def model(request: pytest.FixtureRequest, loader: RequestLoader, config: TrainConfig) -> Ranker:
    """Untrained, with fusion weights that are not 0 and every field selected, in eval mode."""
    spec = loader.tables.spec
    # What fscd draws and drops while it selects fields is tested with it; here all are selected.
    config = replace(config, fscd=FscdConfig(kept_share=1.0))
    scaling = CrossScaling.fit(loader.rows.cross, spec.cross)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        built = get_model(request.param)(spec, config, scaling, NumericStatistics.fit(loader.tables.items.numerics))
        for name, parameter in built.named_parameters():
            if name.startswith("fusion_layer.") and parameter.ndim == 1:
                torch.nn.init.normal_(parameter)
        for name in WEIGHTS_THAT_START_AT_0:
            with contextlib.suppress(AttributeError):
                torch.nn.init.normal_(built.get_parameter(name))
    if isinstance(built, Fscd):
        built.at_step(1.0)
    return built.eval()


@pytest.fixture
def linear(model: Ranker) -> LinearFusionRanker:
    """Only models whose score is linear in a dot product."""
    if not isinstance(model, LinearFusionRanker):
        pytest.skip("no linear fusion")
    return model


@pytest.fixture
def batch(loader: RequestLoader) -> Batch:
    return loader.batch(np.arange(16))


def _copy(batch: Batch) -> dict[str, torch.Tensor]:
    tensors = {}
    for side in ("queries", "items"):
        features = getattr(batch, side)
        tensors |= {f"{side}.{field.name}": getattr(features, field.name).clone() for field in fields(features)}
    return tensors | {"cross": batch.cross.clone(), "labels": batch.labels.clone()}


def test_shapes_and_unit_length(linear: LinearFusionRanker, batch: Batch):
    model = linear
    q, v = model.encode_query(batch.queries), model.encode_item(batch.items)
    assert q.shape == (16, model.heads * model.dim)
    assert v.shape == (len(batch.items), model.dim)
    assert torch.allclose(q.view(16, model.heads, model.dim).norm(dim=-1), torch.ones(16, model.heads), atol=1e-5)
    assert torch.allclose(v.norm(dim=-1), torch.ones(len(v)), atol=1e-5)


def test_score_of_encoded_sides_is_the_forward(model: Ranker, batch: Batch):
    q, v = model.encode_query(batch.queries), model.encode_item(batch.items)
    logits = model.score(q[batch.pair_query], v[batch.pair_item], batch.cross)
    assert logits.shape == (len(batch.rows), model.heads)
    assert torch.equal(logits, model(batch))


def test_nothing_of_the_input_is_changed_in_place(model: Ranker, batch: Batch):
    before = _copy(batch)
    model(batch)
    model.train()(batch).sum().backward()
    for name, tensor in _copy(batch).items():
        assert torch.equal(tensor.nan_to_num(7.0), before[name].nan_to_num(7.0)), name


def test_a_row_does_not_depend_on_the_rest_of_the_batch(model: Ranker, loader: RequestLoader, batch: Batch):
    together = model(batch)
    for request in (0, 7):
        alone = loader.batch(np.array([request]))
        at = torch.isin(batch.rows, alone.rows)
        assert torch.allclose(model(alone), together[at], atol=1e-5)


def test_one_pair_alone_works(model: Ranker, loader: RequestLoader):
    batch = loader.batch(np.array([0]))
    one = replace(
        batch,
        items=batch.items.take(batch.pair_item[:1]),
        pair_query=torch.tensor([0]),
        pair_item=torch.tensor([0]),
        cross=batch.cross[:1],
    )
    assert torch.allclose(model(one), model(batch)[:1], atol=1e-5)


def test_items_do_not_depend_on_queries_nor_queries_on_items(model: Ranker, loader: RequestLoader):
    other = loader.batch(np.arange(16, 32))
    batch = loader.batch(np.arange(16))
    mixed = replace(batch, queries=other.queries)
    assert torch.equal(model.encode_item(mixed.items), model.encode_item(batch.items))
    assert torch.equal(model.encode_query(mixed.queries), model.encode_query(other.queries))


def test_a_rank_s_empty_part_of_a_step_trains_every_parameter_with_zeros(model: Ranker, loader: RequestLoader):
    batch = loader.batch(np.arange(0), of_step=np.arange(2))
    objective = Objective(model, TrainConfig(device="cpu"), Ranks()).train()
    losses = objective(batch)
    assert losses.tolist() == [0.0] * len(losses)
    (losses @ objective.weights).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_parts_of_a_step_on_two_ranks_add_up_to_the_whole(model: Ranker, loader: RequestLoader):
    objective = Objective(model, TrainConfig(device="cpu"), Ranks())
    for dropout in (module for module in model.train().modules() if isinstance(module, torch.nn.Dropout)):
        dropout.p = 0.0
    model.tables.id_dropout = 0.0
    step = np.arange(8)

    def losses(requests: np.ndarray) -> torch.Tensor:
        # Whatever a model draws for all rows alike, such as which fields it reads, is drawn alike.
        torch.manual_seed(1)
        return objective(loader.batch(requests, of_step=step))

    with torch.random.fork_rng():
        assert torch.allclose(losses(step[:3]) + losses(step[3:]), losses(step), atol=1e-5)


def test_unknown_everything_gives_finite_vectors(model: Ranker, batch: Batch):
    q = model.encode_query(batch.queries._map(torch.zeros_like))
    items = replace(batch.items._map(torch.zeros_like), numerics=torch.full_like(batch.items.numerics, torch.nan))
    assert torch.isfinite(q).all()
    assert torch.isfinite(model.encode_item(items)).all()


def test_a_pair_costs_something_and_an_item_no_less_than_its_row(model: Ranker, batch: Batch):
    cost = model.cost()
    assert cost.flops > 0
    assert cost.bytes >= 4 * model.encode_item(batch.items).shape[1]


def test_a_dot_product_costs_more_only_where_a_number_of_cross_features_joins_it(linear: LinearFusionRanker):
    folded = bool(linear.cross_read())
    assert linear.cost() == Cost(2 * linear.dim + 2 * folded, 4 * linear.dim + 4 * folded)


def test_no_requests_at_all_work(model: Ranker, loader: RequestLoader):
    empty = loader.batch(np.arange(0), of_step=np.arange(4))
    for mode in (True, False):
        model.train(mode)
        logits = model(empty)
        assert logits.shape == (0, model.heads)
        own = model.auxiliary_loss(empty, model.encode_query(empty.queries), model.encode_item(empty.items), logits)
        assert own is None or own.item() == 0


def test_a_model_reads_history_and_cross_features_as_its_paper_does(model: Ranker, batch: Batch):
    queries = batch.queries
    blind = replace(queries, history_action=torch.zeros_like(queries.history_action))
    reads_history = not torch.equal(model.encode_query(queries), model.encode_query(blind))
    reads_cross = not torch.equal(model(batch), model(replace(batch, cross=batch.cross * 2)))
    name = next(name for name, constructor in MODELS.items() if constructor is type(model))
    assert reads_history == (name not in WITHOUT_HISTORY)
    assert reads_cross == (name in WITH_CROSS)
    assert bool(model.cross_read()) == reads_cross


def test_padding_of_a_history_never_counts(model: Ranker, batch: Batch):
    queries = batch.queries
    padding = queries.history_action == 0
    noise = replace(
        queries,
        history_item=torch.where(padding, 3, queries.history_item),
        history_age=torch.where(padding, 3, queries.history_age),
    )
    assert torch.equal(model.encode_query(queries), model.encode_query(noise))


def test_the_weight_on_the_dot_product_stays_positive(linear: LinearFusionRanker):
    with torch.no_grad():
        linear.fusion_layer.rho.fill_(-5.0)
    assert 0 < linear.fusion().dot_weight < 0.01


def test_the_blended_query_and_the_folded_cross_score_give_the_ranking_score(linear: LinearFusionRanker, batch: Batch):
    fusion = linear.fusion()
    width = len(fusion.weights)
    blended = linear.blended_query(batch.queries)[batch.pair_query]
    v = linear.encode_item(batch.items)[batch.pair_item]
    cross = fusion.cross_score(batch.cross[:, :width].double().numpy())
    folded = fusion.dot_weight * (blended * v).sum(-1).detach().numpy() + cross
    np.testing.assert_allclose(folded, linear.ranking_score(linear(batch)).detach().numpy(), atol=1e-4)


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'interactrank'"):
        get_model("interact_rank")


def test_help_names_every_model():
    assert sorted(TRAINABLE) == sorted(MODELS)
