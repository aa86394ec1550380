"""Ways to sum up a user's last actions, against plain references."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.config import TrainConfig
from models.contract import QueryFeatures
from models.dataset import Export
from models.features import FeatureSpec
from models.model_configs import ATTENTION, BOTH, MEAN, POOLING, SEQUENCE_MODES, InteractRankConfig
from models.sequences import BestItems, QueryAttention, UserSequence
from models.towers import Tables
from models.train import train

WIDTH = 5


@pytest.fixture(scope="module")
def spec(export: Export, config: TrainConfig) -> FeatureSpec:
    return FeatureSpec.of(export.manifest, 3, config)


def _user(spec: FeatureSpec, entries: list[tuple[int, int, int, int]]) -> QueryFeatures:
    """One request; entries are (item, category, action, age)."""
    padded = entries + [(0, 0, 0, 0)] * (spec.history_length - len(entries))
    item, category, action, age = torch.tensor([padded], dtype=torch.int32).unbind(-1)
    none = torch.zeros(1, 1, dtype=torch.int32)
    best = torch.zeros(1, 20, dtype=torch.int32)
    return QueryFeatures(none, none[0], none, item, category.unsqueeze(-1), action, age, best, best.unsqueeze(-1))


def _sequence(mode: str, spec: FeatureSpec, config: TrainConfig) -> tuple[UserSequence, Tables]:
    torch.manual_seed(4)
    return UserSequence(spec, config, mode, WIDTH), Tables(spec, config)


def test_attention_is_a_softmax_over_the_entries_that_exist():
    torch.manual_seed(1)
    attention, entries, asking = QueryAttention(3, 4), torch.randn(1, 3, 4), torch.randn(1, 3)
    found = attention(entries, torch.tensor([[True, False, True]]), asking)[0]
    ask, kept = attention.ask(asking)[0].detach().numpy(), entries[0, [0, 2]].numpy()
    beta = np.exp(kept @ ask / 2.0)
    np.testing.assert_allclose(found.detach().numpy(), (beta / beta.sum()) @ kept, atol=1e-5)


def test_the_mean_counts_every_entry_alike(spec: FeatureSpec, config: TrainConfig):
    sequence, tables = _sequence(MEAN, spec, config)
    one, other = (7, 3, 1, 2), (9, 4, 2, 5)
    asking = torch.zeros(1, WIDTH)
    alone = [sequence(tables, _user(spec, [entry]), asking) for entry in (one, other)]
    together = sequence(tables, _user(spec, [one, other]), asking)
    assert torch.allclose(together, (alone[0] + alone[1]) / 2, atol=1e-6)


def test_both_is_the_sum_of_pooling_and_attention(spec: FeatureSpec, config: TrainConfig):
    both, tables = _sequence(BOTH, spec, config)
    user, asking = _user(spec, [(7, 3, 1, 2), (9, 4, 2, 5), (7, 3, 2, 6)]), torch.randn(1, WIDTH)
    parts = []
    for mode in (POOLING, ATTENTION):
        part, _ = _sequence(mode, spec, config)
        part.load_state_dict(both.state_dict(), strict=False)
        parts.append(part(tables, user, asking))
    assert torch.allclose(both(tables, user, asking), parts[0] + parts[1], atol=1e-6)


@pytest.mark.parametrize("mode", SEQUENCE_MODES)
def test_a_user_without_actions_is_0_whatever_stands_at_padding(mode: str, spec: FeatureSpec, config: TrainConfig):
    sequence, tables = _sequence(mode, spec, config)
    nobody = _user(spec, [])
    noise = replace(nobody, history_item=nobody.history_item + 3, history_age=nobody.history_age + 2)
    for user in (nobody, noise):
        assert not sequence(tables, user, torch.randn(1, WIDTH)).any()


@pytest.mark.parametrize("mode", SEQUENCE_MODES)
def test_every_weight_of_a_mode_is_used(mode: str, spec: FeatureSpec, config: TrainConfig):
    sequence, tables = _sequence(mode, spec, config)
    user = _user(spec, [(7, 3, 1, 2), (9, 4, 2, 5)])
    sequence(tables, user, torch.randn(1, WIDTH)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in sequence.parameters())


def test_best_items_are_pooled_by_place_and_asked_for_by_the_query(spec: FeatureSpec, config: TrainConfig):
    torch.manual_seed(3)
    best, tables, asking = BestItems(spec, config, WIDTH), Tables(spec, config), torch.randn(1, WIDTH)
    torch.nn.init.normal_(best.place)
    nothing = _user(spec, [])
    top = torch.tensor([[7, 9] + [0] * 18], dtype=torch.int32)
    found = best(tables, replace(nothing, top_item=top, top_categories=top.unsqueeze(-1)), asking)[0]
    both = torch.tensor([7, 9])
    entries = best.project(torch.cat([tables.item_id(both), tables.kinds(both.unsqueeze(-1))], dim=-1)).detach().numpy()
    alpha = np.exp(best.place[:2].detach().numpy())
    beta = np.exp(entries @ best.attention.ask(asking)[0].detach().numpy() / entries.shape[1] ** 0.5)
    expected = (alpha / alpha.sum()) @ entries + (beta / beta.sum()) @ entries
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5)
    assert not best(tables, nothing, asking).any()


def test_interactrank_may_do_without_the_querys_best_items(export: Export, config: TrainConfig):
    short = replace(config, epochs=1, interactrank=InteractRankConfig(query_items=False))
    assert not any("best_items" in name for name in train(short, export, "interactrank").model.state_dict())


def test_interactrank_may_do_without_the_users_sequence(export: Export, config: TrainConfig):
    short = replace(config, epochs=1, interactrank=InteractRankConfig(sequence="none"))
    assert not any(name.startswith("sequence.") for name in train(short, export, "interactrank").model.state_dict())


def test_interactrank_learns_with_every_mode(export: Export, config: TrainConfig):
    for mode in SEQUENCE_MODES:
        short = replace(config, epochs=3, interactrank=InteractRankConfig(sequence=mode))
        assert train(short, export, "interactrank").metrics["auc"] > 0.6
