"""In-batch sampled softmax with logQ correction (InteractRank's public code; Yi et al., RecSys 2019, section 4).

Anchors are all (pair, head) with a positive label; the candidates of an anchor are the distinct items of the step, on
all ranks, and the last items of earlier steps if asked for. A candidate that is another version of the anchor's item is
left out. Each logit is corrected by the log of how probable the item is in a step at all, so that popular items, which
are negatives more often, are not pushed down for it.

The public code counts occurrences in one array of 2^28 cells (2 GiB) that never forgets. Here ``Frequencies`` holds
2 x 32,768 cells (256 KiB) of decaying averages.
"""

import math

import torch
from torch import Tensor, nn

from models.contract import Batch
from models.distributed import Ranks

_MAX_TEMPERATURE = 100.0


class Frequencies(nn.Module):
    """A count-min sketch of how often an item is in a step, forgetting older steps by half in ``half_life`` steps.

    A cell is shared by items that hash alike, so an estimate is never below the truth and above it by about
    (distinct items per step) / width, at the lesser of the two rows.
    """

    cells: Tensor
    seen: Tensor

    WIDTH = 32_768
    _FACTORS = (0x9E3779B97F4A7C15 - (1 << 64), 0x27D4EB2F165667C5)

    def __init__(self, half_life: float):
        super().__init__()
        self.keep = 0.5 ** (1.0 / half_life)
        self.register_buffer("cells", torch.zeros(len(self._FACTORS), self.WIDTH))
        self.register_buffer("seen", torch.zeros((), dtype=torch.float64))

    @torch.no_grad()
    def update(self, numbers: Tensor) -> None:
        """Count a step with these distinct items (M,)."""
        self.cells.mul_(self.keep)
        for row, place in zip(self.cells, self._places(numbers), strict=True):
            row.index_add_(0, place, torch.full(place.shape, 1.0 - self.keep, device=place.device))
        self.seen.mul_(self.keep).add_(1.0 - self.keep)

    def probability(self, numbers: Tensor) -> Tensor:
        """(M,) in (0, 1]: the share of recent steps that held the item."""
        found = torch.stack([row[place] for row, place in zip(self.cells, self._places(numbers), strict=True)])
        return (found.amin(0) / self.seen.float().clamp(min=1e-12)).clamp(1e-9, 1.0)

    def _places(self, numbers: Tensor) -> list[Tensor]:
        # Multiplicative hashing: the upper bits of an overflowing product, as 15 bits number the cells.
        return [((numbers * factor) >> 49) & (self.WIDTH - 1) for factor in self._FACTORS]


class InBatchSoftmax(nn.Module):
    """The loss of a batch's positives, temperature learned; ``earlier`` items of earlier steps join, detached."""

    numbers: Tensor
    vectors: Tensor
    log_q: Tensor

    def __init__(self, dim: int, half_life: float, earlier: int = 0):
        super().__init__()
        self.log_temperature = nn.Parameter(torch.zeros(()))
        self.frequencies = Frequencies(half_life)
        self.register_buffer("numbers", torch.full((earlier,), -1, dtype=torch.int64))
        self.register_buffer("vectors", torch.zeros(earlier, dim))
        self.register_buffer("log_q", torch.zeros(earlier))

    def forward(self, q: Tensor, v: Tensor, batch: Batch, ranks: Ranks) -> Tensor:
        """() of head vectors q (R, H, D) and item vectors v (N, D): the mean over the step's anchors.

        On several ranks each returns its anchors' part of the mean.
        """
        vectors, numbers = _of_the_step(v, batch, ranks)  # (M, D), (M,)
        if self.training:
            self.frequencies.update(torch.unique(numbers))
        log_q = self.frequencies.probability(numbers).log()
        pair, head = torch.nonzero(batch.labels > 0, as_tuple=True)  # (A,), (A,)
        item = batch.pair_item[pair]
        temperature = self.log_temperature.exp().clamp(max=_MAX_TEMPERATURE)
        anchors = temperature * q[batch.pair_query[pair], head]  # (A, D)
        own = (anchors * v[item]).sum(-1) - self.frequencies.probability(batch.item_number[item]).log()  # (A,)
        columns = torch.cat([vectors, self.vectors])  # (M + E, D)
        theirs = anchors @ columns.T - torch.cat([log_q, self.log_q])  # (A, M + E)
        taken = torch.cat([numbers, self.numbers])
        left_out = (taken == batch.item_number[item].unsqueeze(1)) | (taken < 0)
        negatives = theirs.masked_fill(left_out, -math.inf)
        loss = torch.logsumexp(torch.cat([own.unsqueeze(1), negatives], dim=1), dim=1) - own
        if self.training:
            self._remember(vectors.detach(), numbers, log_q)
        return loss.sum() / batch.total_positives.clamp(min=1.0)

    def _remember(self, vectors: Tensor, numbers: Tensor, log_q: Tensor) -> None:
        kept = len(self.numbers)
        if kept:
            self.numbers = torch.cat([numbers, self.numbers])[:kept]
            self.vectors = torch.cat([vectors, self.vectors])[:kept]
            self.log_q = torch.cat([log_q, self.log_q])[:kept]


def _of_the_step(v: Tensor, batch: Batch, ranks: Ranks) -> tuple[Tensor, Tensor]:
    """Vectors (M, D) and numbers (M,) of the items of all ranks, each item version once, in the order of their rows."""
    if ranks.count == 1:
        return v, batch.item_number
    vectors, numbers = ranks.gather_rows(v), ranks.gather_rows(batch.item_number)
    distinct, place = torch.unique(ranks.gather_rows(batch.item_row), return_inverse=True)
    every = torch.arange(len(place), device=place.device)
    first = every.new_full((len(distinct),), len(every)).scatter_reduce(0, place, every, "amin")
    return vectors[first], numbers[first]
