"""Two processes that share each step end where one ends alone."""

import os
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from models.cli import train_in_group
from models.config import TrainConfig
from models.distributed import Ranks, device_of, process_group
from models.errors import TrainingError
from models.model_dir import load
from tests.models.export_fixture import World, write_export

# The last step has one request: the second of two ranks has nothing to do in it.
SMALL = World(requests=(49, 20, 20), items=30, queries=8, users=10)
RANKS = 2


def in_processes(function, *args) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(_as_rank, (port, function, args), nprocs=RANKS, start_method="spawn")


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


def test_two_ranks_learn_what_one_learns(tmp_path: Path, config: TrainConfig):
    data = write_export(tmp_path / "data", SMALL)
    # Ranks draw their own dropout: without it the two runs have the same sums, in another order.
    calm = replace(config, epochs=2, batch_requests=16, dropout=0.0, id_dropout=0.0, tensorboard=False)
    calm = replace(calm, loss="focal", in_batch_weight=0.1, cross_batch_negatives=25)
    alone = train_in_group(calm, "interactrank", data, tmp_path / "alone", False)
    in_processes(train_in_group, calm, "interactrank", data, tmp_path / "together", False)
    one, two = load(tmp_path / "alone"), load(tmp_path / "together")
    assert not list(tmp_path.glob("*.checkpoint"))
    assert alone["best_epoch"] == two.card.best_epoch
    for mine, theirs in zip(one.card.curve, two.card.curve, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    for name, tensor in one.model.state_dict().items():
        assert torch.allclose(tensor, two.model.state_dict()[name], rtol=1e-3, atol=2e-4), name


def test_a_gpu_that_is_not_there_is_an_error():
    if torch.cuda.is_available():
        assert device_of("auto", 0).type == "cuda"
    else:
        assert device_of("auto").type == "cpu"
        with pytest.raises(TrainingError, match=r"train\.device=cpu"):
            device_of("cuda")
    assert Ranks().sum(torch.ones(2)).tolist() == [1.0, 1.0]
