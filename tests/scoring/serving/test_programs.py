"""Programs of every model say what the model says."""

import contextlib
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.contract import Ranker
from models.features import FeatureSpec
from models.fscd import Fscd
from models.fusion import LinearFusionRanker
from models.registry import MODELS, get_model
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from scoring.errors import ScoringError
from scoring.serving.drawn import drawn_items, drawn_queries
from scoring.serving.programs import (
    ITEM_TOWER,
    QUERY_TOWER,
    SCORER,
    ItemProgram,
    Port,
    ScorerProgram,
    require_equal,
    write_programs,
)
from tests.models.model_fixture import CONFIG
from tests.models.model_fixture import SPEC as WITHOUT_CROSS

SPEC = replace(WITHOUT_CROSS, cross=("all__click_share_7d", "all__click_rate_7d", "country__click_rate_7d"))
SCALING = CrossScaling(SPEC.cross, (10.0, 2.0, 3.0), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))


def random_model(name: str, spec: FeatureSpec = SPEC) -> Ranker:
    """In eval mode, with no weight at 0."""
    scaling = SCALING if spec.cross else CrossScaling((), (), (), ())
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = get_model(name)(spec, CONFIG, scaling, NumericStatistics.fit(torch.tensor([[3.0], [9.0], [50.0]])))
        for path in ("fusion_layer.weight", "fusion_layer.bias", "scorer.cross"):
            with contextlib.suppress(AttributeError):
                torch.nn.init.normal_(model.get_parameter(path))
    if isinstance(model, Fscd):
        model.at_step(1.0)
    return model.eval()


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_is_exported_and_scores_any_number_of_rows_alike(name: str, tmp_path: Path):
    model = random_model(name)
    signatures = write_programs(model, SPEC, tmp_path)
    assert (SCORER in signatures) != isinstance(model, LinearFusionRanker)
    assert sorted(signatures) == sorted(path.name for path in tmp_path.iterdir())
    load = {path.name: torch.export.load(path).module() for path in tmp_path.iterdir()}
    for rows in (1, 4):
        queries, items = drawn_queries(SPEC, rows), drawn_items(SPEC, rows)
        q = load[QUERY_TOWER](*vars(queries).values())
        [v] = load[ITEM_TOWER](*vars(items).values())
        cross = torch.rand(rows, len(SPEC.cross))
        expected = model.score(model.encode_query(queries), model.encode_item(items), cross)
        if SCORER in load:
            read = [SPEC.cross.index(feature) for feature in model.cross_read()]
            logits, score = load[SCORER](q[0], v, cross[:, read])
            assert torch.allclose(logits, expected, atol=1e-5)
            assert torch.allclose(score, model.ranking_score(expected), atol=1e-5)
        else:
            fusion = model.fusion()
            folded = fusion.cross_score(cross[:, : len(fusion.weights)].double().numpy())
            score = fusion.dot_weight * (q[1] * v).sum(-1) + torch.from_numpy(folded)
            assert torch.allclose(score.float(), model.ranking_score(expected), atol=1e-4)


def test_signatures_name_inputs_in_the_order_of_the_call(tmp_path: Path):
    signatures = write_programs(random_model("cold"), SPEC, tmp_path)
    tower = signatures[QUERY_TOWER]
    assert [port.name for port in tower.inputs] == list(vars(drawn_queries(SPEC, 1)))
    assert tower.inputs[4] == Port("history_categories", "int32", ("requests", 3, 1))
    assert [port.name for port in signatures[SCORER].outputs] == ["logits", "score"]
    assert signatures[SCORER].inputs[2] == Port("cross", "float32", ("pairs", 3))


def test_a_scorer_takes_only_the_features_that_selection_kept(tmp_path: Path):
    model = random_model("fscd")
    assert isinstance(model, Fscd)
    with torch.no_grad():
        model.selection.kept[-3:] = torch.tensor([True, False, True])
    assert model.cross_read() == (SPEC.cross[0], SPEC.cross[2])
    assert write_programs(model, SPEC, tmp_path)[SCORER].inputs[2].shape == ("pairs", 2)


@pytest.mark.parametrize("name", ["fscd", "interactrank"])
def test_a_feature_contract_without_cross_features_is_exported(name: str, tmp_path: Path):
    write_programs(random_model(name, WITHOUT_CROSS), WITHOUT_CROSS, tmp_path)


def test_a_program_holds_only_the_weights_that_it_reads(tmp_path: Path):
    write_programs(random_model("inttower"), SPEC, tmp_path)
    weights = {name: set(torch.export.load(tmp_path / name).state_dict) for name in (QUERY_TOWER, ITEM_TOWER, SCORER)}
    assert weights[SCORER] == {"model.fusion_layer.rho", "model.fusion_layer.bias"}
    assert {"model.tables.text.weight", "model.item_heads.linear.weight"} <= weights[ITEM_TOWER]
    assert not any("query" in name or "fusion" in name for name in weights[ITEM_TOWER])
    assert not any("item_heads" in name for name in weights[QUERY_TOWER])


def test_a_program_that_says_something_else_is_refused(tmp_path: Path):
    model = random_model("fit")
    write_programs(model, SPEC, tmp_path)

    def items(rows: int) -> tuple[torch.Tensor, ...]:
        return tuple(vars(drawn_items(SPEC, rows)).values())

    require_equal(tmp_path / ITEM_TOWER, ItemProgram(model), items)
    with torch.no_grad():
        model.tables.item_id.weight.add_(0.5)
    with pytest.raises(ScoringError, match=r"item_tower\.pt2: output 0 .* at a batch of 1 "):
        require_equal(tmp_path / ITEM_TOWER, ItemProgram(model), items)


def test_what_a_program_is_traced_on_repeats_and_holds_unknown_values():
    items, again = drawn_items(SPEC, 40), drawn_items(SPEC, 40)
    assert torch.equal(items.text, again.text)
    assert items.numerics.isnan().any()
    assert 0 < float((drawn_queries(SPEC, 40).history_action == 0).float().mean()) < 1
    assert not math.isnan(float(ScorerProgram(random_model("cold"), SPEC).places.sum()))
