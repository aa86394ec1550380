"""What every model obeys: the arrays it is given and the three functions it offers.

Letters in shapes: R requests, N distinct items, P (request, item) pairs, H heads, D vector width, T text features,
K categories, S segments, L history entries, B best items of a query, C cross features.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

F = TypeVar("F", bound="FeatureTable")


@dataclass(frozen=True)
class FeatureTable:
    """Tensors that share their first dimension: a table whose rows can be gathered."""

    def __len__(self) -> int:
        first: Tensor = getattr(self, dataclasses.fields(self)[0].name)
        return first.shape[0]

    def take(self: F, rows: Tensor) -> F:
        """The given rows, in the given order."""
        # Several times faster on a CPU than tensor[rows].
        return self._map(lambda tensor: tensor.index_select(0, rows))

    def to(self: F, device: torch.device) -> F:
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self: F) -> F:
        """In page-locked memory, from where a copy to a GPU does not block."""
        return self._map(Tensor.pin_memory)

    def _map(self: F, change: Callable[[Tensor], Tensor]) -> F:
        return type(self)(**{field.name: change(getattr(self, field.name)) for field in dataclasses.fields(self)})


@dataclass(frozen=True)
class ItemFeatures(FeatureTable):
    """All that an item tower sees. Nothing of a query or a user is in here."""

    text: Tensor  # (N, T) int32: hashed words, then n-grams; 0 is padding
    item_id: Tensor  # (N,) int32: hash bucket
    categories: Tensor  # (N, K) int32: hash buckets, 0 not known
    numerics: Tensor  # (N, M) float32, NaN not known
    dense: Tensor  # (N, E) float32


@dataclass(frozen=True)
class QueryFeatures(FeatureTable):
    """All that a query tower sees: the query and its best items, its user's segments and last actions (latest first).

    Listed items are self-contained: the id and category buckets of their items, not item rows.
    """

    text: Tensor  # (R, T) int32: as in ItemFeatures, from the same buckets
    query_id: Tensor  # (R,) int32: hash bucket
    segments: Tensor  # (R, S) int32: index into FeatureSpec.segments[name], 0 not known
    history_item: Tensor  # (R, L) int32: hash buckets of item ids
    history_categories: Tensor  # (R, L, K) int32
    history_action: Tensor  # (R, L) int32: 1 + index into FeatureSpec.actions, 0 is padding
    history_age: Tensor  # (R, L) int32: age bucket (see hashing.age_buckets), 0 is padding
    top_item: Tensor  # (R, B) int32: hash buckets of the query's best items, best first; 0 is padding
    top_categories: Tensor  # (R, B, K) int32


@dataclass(frozen=True)
class Batch:
    """Whole requests with their pairs. ``rows`` are positions in the split, in the order of the pairs.

    Where several ranks share a step, a batch is one rank's part of it, and the two totals are of the whole.
    """

    queries: QueryFeatures
    items: ItemFeatures
    item_row: Tensor  # (N,) int64: rows of the export's items, ascending
    item_number: Tensor  # (N,) int64: equal for versions of one item
    pair_query: Tensor  # (P,) int64 in [0, R)
    pair_item: Tensor  # (P,) int64 in [0, N)
    cross: Tensor  # (P, C) float32, as exported
    labels: Tensor  # (P, H) float32
    weight: Tensor  # (P,) float32
    rows: Tensor  # (P,) int64
    total_weight: Tensor  # () float32: of the step's rows
    total_positives: Tensor  # () float32: positive labels of the step's rows, all heads together

    def to(self, device: torch.device) -> "Batch":
        return self._map(lambda part: part.to(device, non_blocking=True), lambda part: part.to(device))

    def pin(self) -> "Batch":
        """In page-locked memory, from where a copy to a GPU does not block."""
        return self._map(Tensor.pin_memory, FeatureTable.pin)

    def _map(self, tensor: Callable[[Tensor], Tensor], table: Callable[[Any], Any]) -> "Batch":
        parts: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, part in parts.items():
            parts[name] = tensor(part) if isinstance(part, Tensor) else table(part)
        return Batch(**parts)


@dataclass(frozen=True)
class Cost:
    """What ``Ranker.score`` costs per pair: one multiply-add is 2 FLOPs; bytes are those of the item side, in fp32."""

    flops: int
    bytes: int


class Ranker(nn.Module):
    """A model: ``encode_query`` once per request, ``encode_item`` once per item, ``score`` per pair.

    Query and item sides are rows of any width, X and Y, that only the model's own ``score`` understands. Neither may
    depend on the other, nor on the other rows of the batch in eval mode.
    """

    head_weights: Tensor  # (H,), sums to 1

    def __init__(self, head_weights: tuple[float, ...], dim: int):
        super().__init__()
        weights = torch.tensor(head_weights, dtype=torch.float64)
        self.register_buffer("head_weights", (weights / weights.sum()).float(), persistent=False)
        self.heads, self.dim = len(head_weights), dim

    def encode_query(self, queries: QueryFeatures) -> Tensor:
        """(R, X)."""
        raise NotImplementedError

    def encode_item(self, items: ItemFeatures) -> Tensor:
        """(N, Y)."""
        raise NotImplementedError

    def score(self, q: Tensor, v: Tensor, cross: Tensor) -> Tensor:
        """Logits (P, H) of q (P, X), v (P, Y) and unscaled cross features (P, C)."""
        raise NotImplementedError

    def cross_read(self) -> tuple[str, ...]:
        """Names of the cross features that ``score`` looks at, in their order. None by default."""
        return ()

    def cost(self) -> Cost:
        """Of ``score``."""
        raise NotImplementedError

    def learned(self) -> dict[str, Any]:
        """What it has decided for itself and an evaluation should name, as JSON values. Nothing by default."""
        return {}

    def forward(self, batch: Batch) -> Tensor:
        """Logits (P, H) of the batch's pairs."""
        q = self.encode_query(batch.queries)[batch.pair_query]  # (R, X) -> (P, X)
        v = self.encode_item(batch.items)[batch.pair_item]  # (N, Y) -> (P, Y)
        return self.score(q, v, batch.cross)

    def start_at(self, base_rates: Tensor) -> None:
        """Called once before training with the heads' base rates (H,) on the training rows. Does nothing by default."""

    def at_step(self, share: float) -> None:
        """Called before each training step with the share of all steps that are done, and with 1 after the last.

        What it draws is the same on all ranks. Does nothing by default.
        """

    def settled(self) -> bool:
        """Whether validation may judge it yet: not before phases in which it is another model than it will be."""
        return True

    def auxiliary_loss(self, batch: Batch, q: Tensor, v: Tensor, logits: Tensor) -> Tensor | None:
        """A loss () beside those of the heads, its weight in it; None for none.

        It is given the sides q (R, X) and v (N, Y), and the logits (P, H) that ``score`` made of them.

        Where several ranks share a step, it is this rank's part of a sum over the step, as ``models.losses`` has it.
        """
        return None

    def watched(self, batch: Batch) -> dict[str, float]:
        """Figures that tell whether the model's own parts work, by name.

        Called in eval mode after each epoch, on its last training batch (of the first rank). Empty by default.
        """
        return {}

    def head_vectors(self, q: Tensor, v: Tensor) -> tuple[Tensor, Tensor] | None:
        """Vectors (R, H, D) and (N, D) whose dot products the in-batch softmax may train; None where there are none."""
        return None

    def ranking_score(self, logits: Tensor) -> Tensor:
        """(P, H) -> (P,): the head-weighted logit, the one number by which items are ordered."""
        return logits @ self.head_weights
