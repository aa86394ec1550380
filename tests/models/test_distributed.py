"""Two processes that share each step end where one ends alone."""

import os
import socket
from argparse import ArgumentParser
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from models.cli import add_verbs, train_in_group
from models.config import TrainConfig
from models.distributed import Ranks, device_of, process_group
from models.errors import TrainingError
from models.model_configs import IntTowerConfig
from models.model_dir import load
from models.registry import MODELS
from tests.models.export_fixture import World, write_export

# The last step has one request: the second of two ranks has nothing to do in it.
SMALL = World(requests=(49, 20, 20), items=30, queries=8, users=10)
RANKS = 2


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def in_processes(function, *args) -> None:
    mp.start_processes(_as_rank, (free_ports(1)[0], function, args), nprocs=RANKS, start_method="spawn")


def _as_rank(rank: int, port: int, function, args) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    function(*args)


def write_gathered(out: Path) -> None:
    with process_group("cpu") as ranks:
        # Rank 0 has one row, rank 1 three; each weighs all rows by its own factors.
        rows = (torch.arange(2.0) if ranks.first else 10 + torch.arange(6.0)).reshape(-1, 2).requires_grad_()
        everyone = ranks.gather_rows(rows)
        factors = torch.arange(8.0).reshape(4, 2) * (ranks.rank + 1)
        (everyone * factors).sum().backward()
        np.savez(out / f"{ranks.rank}.npz", everyone=everyone.detach(), gradient=rows.grad)


def test_gathered_rows_keep_their_order_and_gradients_go_back_to_their_owners(tmp_path: Path):
    in_processes(write_gathered, tmp_path)
    found = [np.load(tmp_path / f"{rank}.npz") for rank in range(RANKS)]
    whole = np.array([[0, 1], [10, 11], [12, 13], [14, 15]])
    # Every rank's loss counts: factors 1 and 2 add up to 3.
    gradient = np.arange(8).reshape(4, 2) * 3
    for one in found:
        assert (one["everyone"] == whole).all()
    assert (np.concatenate([one["gradient"] for one in found]) == gradient).all()


def train_each(settings: dict[str, TrainConfig], ports: list[int], data: Path, out: Path) -> None:
    for (name, config), port in zip(settings.items(), ports, strict=True):
        # Of its own, so that no rank joins a group that the other is just leaving.
        os.environ["MASTER_PORT"] = str(port)
        train_in_group(config, name, data, out / name, False)


def test_two_ranks_learn_what_one_learns(tmp_path: Path, config: TrainConfig):
    data = write_export(tmp_path / "data", SMALL)
    # Ranks draw their own dropout: without it the two runs have the same sums, in another order.
    calm = replace(config, epochs=2, batch_requests=16, dropout=0.0, id_dropout=0.0, tensorboard=False)
    settings = dict.fromkeys(sorted(MODELS), replace(calm, inttower=IntTowerConfig(cir_weight=0.1)))
    settings["interactrank"] = replace(calm, loss="focal", in_batch_weight=0.1, cross_batch_negatives=25)
    for name, each in settings.items():
        train_in_group(each, name, data, tmp_path / "alone" / name, False)
    # All in one start of the processes, which is most of the time.
    in_processes(train_each, settings, free_ports(len(settings)), data, tmp_path / "together")
    assert not list(tmp_path.rglob("*.checkpoint"))
    for name in settings:
        one, two = load(tmp_path / "alone" / name), load(tmp_path / "together" / name)
        assert one.card.best_epoch == two.card.best_epoch, name
        for mine, theirs in zip(one.card.curve, two.card.curve, strict=True):
            # Ranking metrics jump where two items that score alike to the last digits change places.
            assert mine == pytest.approx(theirs, abs=2e-3), name
            for figure in (figure for figure in mine if "loss" in figure):
                assert mine[figure] == pytest.approx(theirs[figure], rel=1e-4), (name, figure)
        for weight, tensor in one.model.state_dict().items():
            assert torch.allclose(tensor, two.model.state_dict()[weight], rtol=1e-3, atol=2e-4), (name, weight)


def test_ranks_wait_for_the_one_that_validates_for_hours(monkeypatch: pytest.MonkeyPatch):
    given: dict[str, timedelta] = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **settings: given.update(settings))
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    with process_group("cpu") as ranks:
        assert (ranks.rank, ranks.count) == (1, 2)
    assert given["timeout"] >= timedelta(hours=2)


def test_executors_are_given_paths_that_do_not_depend_on_their_folder(tmp_path, config, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parser = ArgumentParser()
    add_verbs(parser.add_subparsers())
    asked: list[tuple[Any, ...]] = []
    settings = SimpleNamespace(train=replace(config, models_root="trained"))
    context = SimpleNamespace(config=settings, on_executors=lambda processes, function, *given: asked.append(given))
    args = parser.parse_args(["train", "--data", "data", "--model", "two_tower", "--executors", "2"])
    args.run(args, context)
    [(sent, _, data, out, _)] = asked
    assert (sent.models_root, data, out) == (
        str(tmp_path / "trained"),
        tmp_path / "data",
        tmp_path / "trained/two_tower",
    )


def test_a_rank_without_a_log_writes_to_stderr(tmp_path: Path, config: TrainConfig, capsys):
    data = write_export(tmp_path / "data", SMALL)
    train_in_group(replace(config, epochs=1, tensorboard=False), "two_tower", data, tmp_path / "out", False)
    assert "two_tower epoch 1/1 loss=" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_an_error():
    if torch.cuda.is_available():
        assert device_of("auto", 0).type == "cuda"
    else:
        assert device_of("auto").type == "cpu"
        with pytest.raises(TrainingError, match=r"train\.device=cpu"):
            device_of("cuda")
    assert Ranks().sum(torch.ones(2)).tolist() == [1.0, 1.0]
