"""The public InteractRank model by its mathematics (research notes, section 1), to compare the cost of a step with.

Two towers of four parallel MaskNet blocks each, an MLP of 512 and 256, heads of 64, user and query sequences by learned
pooling plus query attention, one linear layer over cross features and dot product, focal losses per head and an
in-batch softmax with logQ correction. It runs one query tower per row, as its batch is rows. Left out: what the public
code leaks between towers, and half of its sketch of 2^28 cells (2^20 here; its size does not change the work).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

HEADS, DIM, ACTIONS, QUERY_ITEMS, WIDTH = 3, 64, 100, 20, 32
MASK_BLOCKS, MASK_OUT, HIDDEN = 4, 2048, (512, 256)
HEAD_WEIGHTS = (20 / 47, 7 / 47, 20 / 47)


@dataclass(frozen=True)
class PublicBatch:
    """B rows; every row carries its request's features."""

    searchsage: Tensor  # (B, 64)
    sequence: Tensor  # (B, 100, 32)
    item_sequence: Tensor  # (B, 100, 32)
    actions: Tensor  # (B, 100) int64
    age_buckets: Tensor  # (B, 100) int64
    query_items: Tensor  # (B, 20, 32)
    query_numeric: Tensor  # (B, 1)
    item_dense: tuple[Tensor, Tensor, Tensor]  # (B, 64) each
    item_numeric: Tensor  # (B, 2)
    cross: Tensor  # (B, C)
    labels: Tensor  # (B, 3)
    weight: Tensor  # (B,)
    item: Tensor  # (B,) int64

    @classmethod
    def random(cls, rows: int, cross: int, items: int) -> "PublicBatch":
        def uniform(*shape: int) -> Tensor:
            return torch.rand(rows, *shape)

        return cls(
            searchsage=uniform(64),
            sequence=uniform(ACTIONS, WIDTH),
            item_sequence=uniform(ACTIONS, WIDTH),
            actions=torch.randint(0, 20, (rows, ACTIONS)),
            age_buckets=torch.randint(0, 17, (rows, ACTIONS)),
            query_items=uniform(QUERY_ITEMS, WIDTH),
            query_numeric=uniform(1),
            item_dense=(uniform(64), uniform(64), uniform(64)),
            item_numeric=uniform(2),
            cross=uniform(cross),
            labels=(uniform(HEADS) < 0.1).float(),
            weight=torch.ones(rows),
            item=torch.randint(0, items, (rows,)),
        )


class ParallelMaskNet(nn.Module):
    """Blocks o_k = dropout(relu(LN(V_k (m_k * z)))), m_k = W2 relu(W1 z), side by side: (B, d) -> (B, 4 * 2048)."""

    def __init__(self, width: int):
        super().__init__()
        self.masks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width // 10), nn.ReLU(), nn.Linear(width // 10, width))
            for _ in range(MASK_BLOCKS)
        )
        self.values = nn.ModuleList(
            nn.Sequential(nn.Linear(width, MASK_OUT, bias=False), nn.LayerNorm(MASK_OUT), nn.ReLU(), nn.Dropout(0.005))
            for _ in range(MASK_BLOCKS)
        )

    def forward(self, z: Tensor) -> Tensor:
        blocks = [value(mask(z) * z) for mask, value in zip(self.masks, self.values, strict=True)]
        return torch.cat(blocks, dim=-1)


class PublicTower(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        layers: list[nn.Module] = [nn.LayerNorm(width), ParallelMaskNet(width)]
        width = MASK_BLOCKS * MASK_OUT
        for hidden in HIDDEN:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.LayerNorm(hidden)]
            width = hidden
        self.layers = nn.Sequential(*layers, nn.Linear(width, DIM * heads))
        self.heads = heads

    def forward(self, z: Tensor) -> Tensor:
        return functional.normalize(self.layers(z).unflatten(1, (self.heads, DIM)), dim=-1)  # (B, heads, 64)


class PublicInteractRank(nn.Module):
    def __init__(self, cross: int):
        super().__init__()
        self.project_query, self.project_item = (self._searchsage() for _ in range(2))
        self.numeric_norm = nn.ModuleList(nn.BatchNorm1d(width) for width in (1, 2))
        self.dense_norm = nn.ModuleList(nn.LayerNorm(64) for _ in range(4))
        self.age, self.action = nn.Embedding(17, WIDTH), nn.Embedding(20, WIDTH)
        self.pool, self.pool_items = nn.Conv1d(ACTIONS, 1, 1), nn.Conv1d(QUERY_ITEMS, 1, 1)
        self.pool_actions = nn.Conv1d(ACTIONS, 1, 1)
        self.query_tower = PublicTower(64 + 5 * WIDTH + 1, HEADS)
        self.item_tower = PublicTower(3 * 64 + WIDTH + 2, 1)
        self.projection = nn.Linear(cross + 1, 1)
        self.log_temperature = nn.Parameter(torch.zeros(()))
        self.register_buffer("counts", torch.zeros(1 << 20))

    @staticmethod
    def _searchsage() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.LayerNorm(256), nn.Linear(256, WIDTH))

    def towers(self, batch: PublicBatch) -> tuple[Tensor, Tensor]:
        """q (B, 3, 64) and v (B, 1, 64)."""
        sage = self.dense_norm[0](batch.searchsage)
        s = self.project_query(sage)
        ages = self.age(batch.age_buckets)
        sequences = [
            self._summed(self.pool, batch.sequence + ages, s),
            self._summed(self.pool, batch.item_sequence + ages, s),
            self._summed(self.pool_items, batch.query_items, s),
            self.pool_actions(self.action(batch.actions)).squeeze(1),
        ]
        q = self.query_tower(torch.cat([sage, s, *sequences, self.numeric_norm[0](batch.query_numeric)], dim=-1))
        dense = [norm(x) for norm, x in zip(self.dense_norm[1:], batch.item_dense, strict=True)]
        numeric = self.numeric_norm[1](batch.item_numeric)
        return q, self.item_tower(torch.cat([*dense, self.project_item(dense[2]), numeric], dim=-1))

    @staticmethod
    def _summed(pool: nn.Module, entries: Tensor, s: Tensor) -> Tensor:
        attention = torch.softmax(torch.einsum("bld,bd->bl", entries, s), dim=1)
        return pool(entries).squeeze(1) + torch.einsum("bl,bld->bd", attention, entries)

    def forward(self, batch: PublicBatch) -> Tensor:
        """The loss of a batch."""
        q, v = self.towers(batch)
        dots = (q * v).sum(-1, keepdim=True)  # (B, 3, 1)
        cross = batch.cross.unsqueeze(1).expand(-1, HEADS, -1)
        logits = self.projection(torch.cat([cross, dots], dim=-1)).squeeze(-1)  # (B, 3)
        bce = functional.binary_cross_entropy_with_logits(logits, batch.labels, reduction="none")
        focal = ((1 - torch.exp(-bce)) ** 2 * bce * batch.weight.unsqueeze(1)).mean(0)
        return focal @ torch.tensor(HEAD_WEIGHTS) + 0.01 * self._in_batch(q, v.squeeze(1), batch)

    def _in_batch(self, q: Tensor, v: Tensor, batch: PublicBatch) -> Tensor:
        items, place = torch.unique(batch.item, return_inverse=True)
        mean = torch.zeros(len(items), DIM).index_add(0, place, v)
        mean = mean / torch.bincount(place, minlength=len(items)).unsqueeze(1)
        self.counts.index_add_(0, items % len(self.counts), torch.ones(len(items)))
        share = self.counts[items % len(self.counts)] / self.counts.sum()
        log_q = (1 - (1 - share) ** len(batch.item)).clamp(1e-16, 1).log()
        row, head = torch.nonzero(batch.labels, as_tuple=True)
        anchors = self.log_temperature.exp() * q[row, head]
        own = (anchors * v[row]).sum(-1) - log_q[place[row]]
        others = (anchors @ mean.T - log_q).masked_fill(items == batch.item[row].unsqueeze(1), -torch.inf)
        loss = torch.logsumexp(torch.cat([own.unsqueeze(1), others], dim=1), dim=1) - own
        return loss.sum() / (HEADS * len(batch.item))
