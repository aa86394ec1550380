import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from etl.contract.errors import UnknownNameError
from etl.contract.manifest import TRAIN, VALIDATION
from models.config import TrainConfig
from models.dataset import Export
from models.distributed import Ranks
from models.errors import ExportError, TrainingError
from models.registry import MODELS
from models.train import TrainResult, _base_rates, _sampled, train
from tests.models.export_fixture import World, write_export

SMALL = World(requests=(60, 20, 20), items=30, queries=8, users=10)


def test_training_beats_chance_and_interactions_add_to_text(two_tower: TrainResult, interactrank: TrainResult):
    assert two_tower.metrics["auc"] > 0.6
    assert interactrank.metrics["auc"] > two_tower.metrics["auc"] + 0.05
    assert interactrank.metrics["hits@3"] > two_tower.metrics["hits@3"]


def test_the_best_epoch_is_kept(interactrank: TrainResult):
    by_epoch = [point["validation_ndcg@10"] for point in interactrank.curve]
    assert interactrank.metrics["ndcg@10"] == max(by_epoch) == by_epoch[interactrank.best_epoch - 1]
    assert interactrank.curve[0]["loss"] > interactrank.curve[-1]["loss"]


def test_training_repeats_exactly_and_the_seed_matters(tmp_path: Path, config: TrainConfig):
    export = Export(write_export(tmp_path / "data", SMALL))
    short = replace(config, epochs=2)
    one, two = train(short, export, "interactrank"), train(short, export, "interactrank")
    assert one.curve == two.curve
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, two.model.state_dict()[name]), name
    assert train(replace(short, seed=99), export, "interactrank").curve != one.curve


def test_training_leaves_the_global_random_state_alone(tmp_path: Path, config: TrainConfig):
    export = Export(write_export(tmp_path / "data", SMALL))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(replace(config, epochs=1), export, "two_tower")
    assert torch.equal(torch.rand(3), expected)


def test_generators_of_gpus_that_it_does_not_use_are_left_alone(tmp_path: Path, config: TrainConfig, monkeypatch):
    export = Export(write_export(tmp_path / "data", SMALL))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_rng_state", lambda device: pytest.fail(f"{device} was touched"))
    train(replace(config, epochs=1), export, "two_tower")


@pytest.mark.parametrize("name", ["seed", "in_batch_weight", "workers"])
def test_settings_below_0_are_refused_by_name(name: str):
    with pytest.raises(ValueError, match=f"{name} must be 0 or more"):
        TrainConfig(**{name: -1})


def test_it_stops_when_validation_gets_no_better(tmp_path: Path, config: TrainConfig):
    export = Export(write_export(tmp_path / "data", SMALL))
    result = train(replace(config, epochs=30, patience=1, learning_rate=0.05), export, "two_tower")
    assert len(result.curve) == result.best_epoch + 1 < 30


def test_without_validation_all_epochs_run_and_the_last_is_kept(tmp_path: Path, config: TrainConfig):
    export = Export(write_export(tmp_path / "data", SMALL))
    shards = tuple(shard for shard in export.manifest.shards if shard.split != VALIDATION)
    replace(export.manifest, shards=shards).write(export.directory)
    result = train(replace(config, epochs=3, patience=1), Export(export.directory), "two_tower")
    assert (result.best_epoch, len(result.curve), result.metrics) == (3, 3, {})


@pytest.mark.parametrize("metric", ["ndcg@10", "auc"])
def test_requests_of_one_item_are_judged_by_row_auc_only(tmp_path: Path, config: TrainConfig, metric: str):
    export = Export(write_export(tmp_path / "data", replace(SMALL, shown=1, requests=(300, 60, 20))))
    short = replace(config, epochs=1)
    with pytest.raises(TrainingError, match=rf"metric is {metric}.*train\.early_stopping_metric=row_auc"):
        train(replace(short, early_stopping_metric=metric), export, "two_tower")
    assert 0 < train(replace(short, early_stopping_metric="row_auc"), export, "two_tower").metrics["row_auc"] < 1


@pytest.mark.parametrize(("label", "kind"), [(0, "negative"), (1, "positive")])
def test_labels_of_one_kind_are_an_error(tmp_path: Path, config: TrainConfig, label: int, kind: str):
    export = Export(write_export(tmp_path / "data", SMALL))
    export.split(TRAIN).labels[:, 0] = label
    with pytest.raises(ExportError, match=f"head 'engagement' are all {kind}"):
        train(config, export, "two_tower")


def test_an_unknown_name_is_refused_before_anything_is_read(tmp_path: Path, config: TrainConfig):
    export = Export(write_export(tmp_path / "data", SMALL))
    (export.directory / "items.arrow").unlink()
    with pytest.raises(UnknownNameError, match="two_tower"):
        train(config, export, "two_towers")


def test_progress_passes_every_batch_through(tmp_path: Path, config: TrainConfig):
    export = Export(write_export(tmp_path / "data", SMALL))
    seen: list[tuple[str, int, int]] = []

    def track(iterable, description, total, /):
        batches = list(iterable)
        seen.append((description, total, len(batches)))
        yield from batches

    train(replace(config, epochs=2), export, "two_tower", track)
    assert seen == [("two_tower epoch 1/2", 2, 2), ("two_tower epoch 2/2", 2, 2)]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_trains_in_bf16_and_stays_in_single_precision(tmp_path: Path, config: TrainConfig, name: str):
    export = Export(write_export(tmp_path / "data", SMALL))
    one_step = replace(config, epochs=1, batch_requests=60, dropout=0.0, id_dropout=0.0)
    found = train(replace(one_step, precision="bf16"), export, name)
    exact = train(one_step, export, name)
    assert found.curve[0]["loss"] == pytest.approx(exact.curve[0]["loss"], rel=0.02)
    assert found.curve[0]["loss"] != exact.curve[0]["loss"]
    weights = found.model.state_dict()
    assert all(torch.isfinite(tensor).all() and tensor.dtype != torch.bfloat16 for tensor in weights.values())


@pytest.mark.parametrize("name", ["two_tower", "interactrank"])
def test_a_compiled_step_learns_the_same(tmp_path: Path, config: TrainConfig, name: str, monkeypatch):
    export = Export(write_export(tmp_path / "data", SMALL))
    short = replace(config, epochs=1, batch_requests=60, dropout=0.0, id_dropout=0.0)
    # Captures and differentiates as the default does, but needs no C++ compiler.
    monkeypatch.setattr("torch.compile", partial(torch.compile, backend="aot_eager"))
    compiled, eager = train(replace(short, compile=True), export, name), train(short, export, name)
    for weight, tensor in eager.model.state_dict().items():
        assert torch.allclose(tensor, compiled.model.state_dict()[weight], rtol=1e-3, atol=1e-4), weight


class Doubled(Ranks):
    """As if another rank had done the same."""

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return values * 2


def test_rows_per_second_are_those_of_all_ranks(tmp_path: Path, config: TrainConfig, monkeypatch):
    export = Export(write_export(tmp_path / "data", SMALL))
    said: list[str] = []
    clock = itertools.count()
    monkeypatch.setattr("models.training_run.time", SimpleNamespace(monotonic=lambda: next(clock)))
    result = train(replace(config, epochs=2), export, "two_tower", log=said.append, ranks=Doubled())
    # The clock is read once before the steps of an epoch and once after.
    rows = 2 * len(export.split(TRAIN))
    assert result.rows_per_second == rows
    assert f" rows/s={rows} seconds=1.0" in said[0]


def test_statistics_of_a_large_split_come_in_pieces_and_from_a_sample(
    tmp_path: Path, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
):
    export = Export(write_export(tmp_path / "data", SMALL))
    whole = train(replace(config, epochs=1), export, "interactrank")
    monkeypatch.setattr("models.train._SAMPLED_ROWS", 7)
    pieces = train(replace(config, epochs=1), export, "two_tower")
    assert pieces.model.fusion_layer.bias.shape == whole.model.fusion_layer.bias.shape
    rates = [float(_base_rates(export.split(TRAIN), whole.spec)[head]) for head in range(2)]
    labels = export.split(TRAIN).labels
    assert rates == pytest.approx(labels.mean(axis=0).tolist(), rel=1e-6)
    assert len(np.unique(_sampled(100))) == 7
