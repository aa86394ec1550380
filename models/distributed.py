"""Ranks of one training run: processes that share each step, as torchrun or Spark's TorchDistributor start them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from models.errors import TrainingError

# After each epoch all ranks wait while the first one validates, which on a large split takes longer than the 10 to 30
# minutes after which torch gives up. A rank that dies is noticed without it: what started the ranks ends them all.
_TIMEOUT = timedelta(hours=12)


@dataclass(frozen=True)
class Ranks:
    """This process among ``count``; rank 0 speaks for all."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        return self.rank == 0

    def gather_rows(self, rows: Tensor) -> Tensor:
        """(N, ...) of each rank -> rows of all (M, ...), one rank after the other, with gradients to their owners."""
        if self.count == 1:
            return rows
        lengths = torch.zeros(self.count, dtype=torch.int64, device=rows.device)
        lengths[self.rank] = len(rows)
        dist.all_reduce(lengths)
        gathered: Tensor = _GatherRows.apply(rows, lengths.tolist(), self.rank)
        return gathered

    def sum(self, values: Tensor) -> Tensor:
        """The sum over ranks, without gradients."""
        values = values.detach().clone()
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def from_first(self, figures: dict[str, float]) -> dict[str, float]:
        """Rank 0's figures, on every rank."""
        if self.count == 1:
            return figures
        sent: list[Any] = [figures]
        dist.broadcast_object_list(sent, src=0, device=self.device)
        received: dict[str, float] = sent[0]
        return received

    def wait(self) -> None:
        if self.count > 1:
            dist.barrier()


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, lengths: list[int], rank: int) -> Tensor:
        ctx.begin, ctx.end = sum(lengths[:rank]), sum(lengths[: rank + 1])
        # Every rank adds its rows to zeros: as exact as a gather, and for any lengths.
        everyone = rows.new_zeros((sum(lengths), *rows.shape[1:]))
        everyone[ctx.begin : ctx.end] = rows
        dist.all_reduce(everyone)
        return everyone

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        whole = gradients[0].contiguous()
        dist.all_reduce(whole)
        return whole[ctx.begin : ctx.end], None, None


def device_of(wanted: str, local_rank: int = 0) -> torch.device:
    """``auto`` is the GPU of this process where there is one. TrainingError for cuda without one."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise TrainingError("train.device is cuda, but torch sees none. Set train.device=cpu or auto.")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", local_rank)


@contextmanager
def process_group(wanted_device: str) -> Iterator[Ranks]:
    """The ranks that the environment names (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), or one alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    device = device_of(wanted_device, int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if count == 1:
        yield Ranks(device=device)
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        yield Ranks(dist.get_rank(), count, device)
    finally:
        dist.destroy_process_group()
