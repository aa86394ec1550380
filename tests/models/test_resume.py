"""A run stopped anywhere goes on as if it had not been: the same weights, curve and best epoch, to the bit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.checkpoint import CheckpointFile
from models.config import TrainConfig
from models.dataset import Export
from models.errors import CheckpointError
from models.train import TrainResult, train
from tests.models.export_fixture import World, write_export

SMALL = World(requests=(60, 20, 20), items=30, queries=8, users=10)


class Stopped(Exception):
    pass


def stopping_after(batches: int):
    """A progress bar that stops the program after so many steps."""
    seen = 0

    def track(iterable, description, total, /):
        nonlocal seen
        for batch in iterable:
            if seen == batches:
                raise Stopped
            seen += 1
            yield batch

    return track


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    return Export(write_export(tmp_path_factory.mktemp("resume") / "data", SMALL))


@pytest.fixture(scope="module")
def short(config: TrainConfig) -> TrainConfig:
    # Four steps an epoch; everything that has a state of its own is switched on.
    return replace(
        config,
        epochs=3,
        batch_requests=16,
        checkpoint_steps=1,
        in_batch_weight=0.1,
        cross_batch_negatives=20,
        in_batch_half_life_steps=3,
    )


@pytest.fixture(scope="module")
def undisturbed(export: Export, short: TrainConfig) -> TrainResult:
    return train(short, export, "interactrank")


def assert_same(one: TrainResult, other: TrainResult) -> None:
    assert (one.curve, one.best_epoch, one.metrics) == (other.curve, other.best_epoch, other.metrics)
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name]), name


@pytest.mark.parametrize("stops", [(0,), (1,), (4,), (6,), (11,), (2, 1, 3)])
def test_it_goes_on_from_the_last_checkpoint(
    tmp_path: Path, export: Export, short: TrainConfig, undisturbed: TrainResult, stops: tuple[int, ...]
):
    file = tmp_path / "model.checkpoint"
    for batches in stops:
        with pytest.raises(Stopped):
            train(short, export, "interactrank", stopping_after(batches), checkpoint=file)
    assert_same(train(short, export, "interactrank", checkpoint=file), undisturbed)


def test_a_finished_run_is_not_trained_again(tmp_path: Path, export: Export, short: TrainConfig, undisturbed):
    file = tmp_path / "model.checkpoint"
    train(short, export, "interactrank", checkpoint=file)
    assert_same(train(short, export, "interactrank", stopping_after(0), checkpoint=file), undisturbed)


def test_where_and_how_it_runs_may_change_in_between(tmp_path: Path, export: Export, short: TrainConfig, undisturbed):
    file = tmp_path / "model.checkpoint"
    with pytest.raises(Stopped):
        train(short, export, "interactrank", stopping_after(5), checkpoint=file)
    other = replace(short, workers=0, log_steps=1, checkpoint_steps=3)
    assert_same(train(other, export, "interactrank", checkpoint=file), undisturbed)


def test_another_configuration_model_or_export_starts_over(tmp_path: Path, export: Export, short: TrainConfig):
    file = tmp_path / "model.checkpoint"
    with pytest.raises(Stopped):
        train(short, export, "interactrank", stopping_after(5), checkpoint=file)
    said: list[str] = []
    train(replace(short, epochs=1), export, "interactrank", checkpoint=file, log=said.append)
    assert not [line for line in said if "going on" in line]
    train(short, export, "two_tower", checkpoint=file, log=said.append)
    assert not [line for line in said if "going on" in line]


def test_a_damaged_checkpoint_is_an_error_that_says_what_to_do(tmp_path: Path, export: Export, short: TrainConfig):
    file = tmp_path / "model.checkpoint"
    file.write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match="--fresh"):
        train(short, export, "two_tower", checkpoint=file)


def test_a_checkpoint_executes_nothing(tmp_path: Path):
    class Bad:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"identity": Bad()}, tmp_path / "model.checkpoint")
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    file = CheckpointFile(tmp_path / "model.checkpoint", "x")
    with pytest.raises(CheckpointError):
        file.restore(model, optimizer, torch.device("cpu"))
    assert not (tmp_path / "executed").exists()
