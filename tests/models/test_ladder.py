from dataclasses import replace

import pytest

from etl.contract.errors import UnknownNameError, UsageError
from etl.contract.manifest import Manifest
from models.cli import RUNGS
from models.config import TrainConfig
from models.dataset import Export
from models.ladder import Setup, adds_nothing, bottom, chosen, steps
from models.model_configs import InteractRankConfig

NAMES = (
    "all__click_share_7d", "all__click_share_28d", "all__click_fresh_share_7d", "all__click_rate_7d",
    "country__click_share_7d", "country__click_decay_hl14d", "all__has_history",
)  # fmt: skip


@pytest.fixture
def manifest(export: Export) -> Manifest:
    return replace(export.manifest, cross=NAMES)


def setups(config: TrainConfig, manifest: Manifest) -> dict[str, Setup]:
    """By step, its last variant carried on."""
    found, setup = {}, bottom(config)
    for step in steps(config, manifest):
        setup = found[step.key] = step.variants[-1].on(setup)
    return found


def test_the_command_line_names_every_step(manifest: Manifest):
    assert tuple(step.key for step in steps(TrainConfig(), manifest)) == RUNGS


def test_cross_features_grow_from_shares_of_one_window_to_all(manifest: Manifest):
    found = setups(TrainConfig(), manifest)
    seen = {key: setup.cross.columns(NAMES) for key, setup in found.items()}
    assert bottom(TrainConfig()).cross.columns(NAMES) == []
    assert [seen[key] for key in ("shares", "windows", "segments")] == [[0], [0, 1], [0, 1, 4]]
    assert seen["rates"] == seen["backoff"] == list(range(len(NAMES)))
    assert found["rates"].cross.blanked(NAMES) == [3]
    assert found["backoff"].cross.blanked(NAMES) == []


def test_the_top_is_the_model_as_configured_with_the_losses_of_training(manifest: Manifest):
    config = TrainConfig(dim=16, interactrank=InteractRankConfig(blocks=2, block_width=8))
    top = setups(config, manifest)["masknet"]
    assert (top.model, top.config) == ("interactrank", config)
    last = setups(config, manifest)["focal"].config
    assert (last.in_batch_weight, last.loss) == (0.01, "focal")
    assert bottom(config).config.interactrank == replace(
        config.interactrank, sequence="none", query_items=False, blocks=0
    )


def test_what_the_ladder_switches_on_starts_switched_off_whatever_the_configuration(manifest: Manifest):
    config = TrainConfig(in_batch_weight=0.3, loss="focal")
    assert (bottom(config).config.in_batch_weight, bottom(config).config.loss) == (0.0, "bce")
    assert setups(config, manifest)["in_batch"].config.in_batch_weight == 0.3


def test_chosen_steps_keep_their_order_and_a_typo_names_the_nearest(manifest: Manifest):
    every = steps(TrainConfig(), manifest)
    assert [step.key for step in chosen(every, "focal, shares")] == ["shares", "focal"]
    assert chosen(every, None) == list(every)
    with pytest.raises(UnknownNameError, match="segments"):
        chosen(every, "segmens")
    with pytest.raises(UsageError, match="--rungs is empty"):
        chosen(every, ",")


@pytest.mark.parametrize(
    ("names", "best_items", "idle"),
    [
        (NAMES, 5, set()),
        (("all__click_share_7d",), 5, {"windows", "segments", "rates", "backoff"}),
        (NAMES[:2], 0, {"segments", "rates", "backoff", "query_items"}),
        ((), 5, {"shares", "windows", "segments", "rates", "backoff"}),
    ],
    ids=["all", "one window", "no list of best items", "no cross features"],
)
def test_a_step_that_the_export_has_nothing_for_adds_nothing(manifest, names, best_items, idle):
    manifest = replace(manifest, cross=names, query_items=best_items)
    setup, found = bottom(TrainConfig()), set()
    for step in steps(TrainConfig(), manifest):
        changed = step.variants[-1].on(setup)
        if adds_nothing(changed, setup, manifest):
            found.add(step.key)
        else:
            setup = changed
    assert found == idle
