"""The search of a block of queries, tile by tile: who may still be among the best k."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from scoring.candidates.exact import ItemShards, exact_dots

NO_ROW = -1
_NONE = -torch.inf
#: Of fp32 and of bf16.
_LOWEST = torch.finfo(torch.bfloat16).min
_LAST = torch.iinfo(torch.int64).max
#: Items of a tile that are looked at as one, by their greatest product: most groups hold nobody who matters.
_GROUP = 8
#: Kept per query, in multiples of k, before those below the k-th are dropped.
_ROOM = 4
#: Bytes of vectors that are gathered at once to decide, on a CPU and on a GPU.
_GATHERED = {"cpu": 1 << 20, "cuda": 1 << 28}


def rounding(width: int, precision: torch.dtype) -> float:
    """e: product and ``exact_dots`` together miss q . v by at most e |q| |v|."""
    summed = 2 * (width + 4) * 2.0**-24  # in any order, with or without fused additions
    reduced = precision != torch.float32 or torch.get_float32_matmul_precision() != "highest"
    # Both factors, the result and what it is compared with are rounded to 8 bits.
    return summed + 4.1 * 2.0**-9 if reduced else summed


@dataclass(frozen=True)
class Scratch:
    """The products (Q, T) of the tile at hand, in memory that all blocks of queries share; T in whole groups."""

    product: Tensor

    @classmethod
    def of(cls, queries: int, items: int, precision: torch.dtype, device: torch.device) -> "Scratch":
        rounded = -(-items // _GROUP) * _GROUP
        return cls(torch.empty(queries, rounded, dtype=precision, device=device))


@dataclass(frozen=True)
class Items:
    """The n items of a tile, the rows from ``start`` on."""

    vectors: Tensor  # (n, D)
    start: int
    longest: Tensor  # (): the greatest norm
    damaged: Tensor | None  # (n,): whose vector is not finite, where there are any

    @classmethod
    def of(cls, vectors: Tensor, start: int, precision: torch.dtype) -> "Items":
        """Of fp32 vectors, kept in ``precision``."""
        norms = torch.linalg.vector_norm(vectors, dim=1)
        damaged = ~norms.isfinite()
        longest = norms.masked_fill(damaged, 0).max()
        return cls(vectors.to(precision), start, longest, damaged if bool(damaged.any()) else None)


class Running:
    """R queries and, of the items met so far, those that may be among their best k."""

    def __init__(self, queries: Tensor, items: ItemShards, k: int, scratch: Scratch):
        self._queries, self._items, self._k = queries, items, k
        self._product = scratch.product[: len(queries)]  # (R, T)
        self._factor = queries.to(self._product.dtype)
        norms = torch.linalg.vector_norm(queries, dim=1)
        self._norms, self._longest = norms.nan_to_num(0.0, posinf=0.0), norms.new_zeros(())
        self._error = rounding(queries.shape[1], self._product.dtype)
        # The k-th best so far, by the product: nobody reaches that of a query which is not finite.
        self._floor = torch.full_like(norms, _NONE).masked_fill(~norms.isfinite(), torch.inf)
        self._guess = torch.full_like(norms, _LOWEST)
        self._counts = torch.zeros_like(norms, dtype=torch.int64)
        self._new, self._met = 0, False
        shape = (len(queries), _ROOM * k)  # filled from the left
        self._scores = torch.full(shape, _NONE, device=queries.device)
        self._rows = torch.full(shape, NO_ROW, dtype=torch.int64, device=queries.device)

    def guess(self, sample: Tensor, rank: int) -> None:
        """Expect the k-th best item to reach the ``rank``-th of a sample (s, D): ``complete`` says if it does."""
        self._guess = _kth(torch.mm(self._factor, sample.to(self._factor.dtype).T), rank).float().clamp(min=_LOWEST)
        self._met = True

    def meet(self, items: Items) -> None:
        """Search a tile's items."""
        width = len(items.vectors)
        torch.mm(self._factor, items.vectors.T, out=self._product[:, :width])
        self._product[:, width:] = _NONE
        if items.damaged is not None:
            self._product[:, :width][:, items.damaged] = _NONE
        self._longest = torch.maximum(self._longest, items.longest)
        if not self._met and width >= self._k:
            self._raise_floor(self._product)
        self._met = True
        self._add_reaching(items.start)
        if self._new > len(self._counts) * self._k * (_ROOM - 1) // 2:
            self._prune()

    def best(self) -> tuple[Tensor, Tensor]:
        """Rows and scores (R, k), best first; NO_ROW and -inf behind the last."""
        self._prune()
        rows, scores = self._ranked()
        short = self._k - rows.shape[1]
        return pad(rows, (0, short), value=NO_ROW), pad(scores, (0, short), value=_NONE)

    def complete(self) -> Tensor:
        """(R,): whether everybody among the best k was as good as guessed; otherwise search again without a guess."""
        return self._limit() >= self._guess

    def _add_reaching(self, start: int) -> None:
        """Add everybody in the tile who reaches his query's limit."""
        limit = torch.maximum(self._limit(), self._guess).to(self._product.dtype)
        groups = self._product.view(len(limit), _GROUP, -1)  # item g * T/_GROUP + i is in group i
        query, group, _ = _places(groups.amax(1) >= limit.unsqueeze(1))
        products = groups[query, :, group]  # (G, _GROUP)
        found, member, _ = _places(products >= limit[query].unsqueeze(1))
        query, column = query[found], member * groups.shape[2] + group[found]
        self._append(
            query, column + start, products[found, member].float(), torch.bincount(query, minlength=len(limit))
        )

    def _limit(self) -> Tensor:
        """(R,): whose product is below it is not among the best k. Above -inf, which marks those who never are."""
        return (self._floor - 2 * self._error * self._norms * self._longest).clamp(min=_LOWEST)

    def _raise_floor(self, products: Tensor) -> None:
        self._floor = torch.maximum(self._floor, _kth(products, self._k).float())

    def _append(self, query: Tensor, rows: Tensor, scores: Tensor, added: Tensor) -> None:
        """Entries (S,) whose queries ascend, ``added`` (R,) of each."""
        first = self._counts - added.cumsum(0) + added
        self._counts = self._counts + added
        short = int(self._counts.max()) - self._scores.shape[1]
        if short > 0:
            self._scores = pad(self._scores, (0, short), value=_NONE)
            self._rows = pad(self._rows, (0, short), value=NO_ROW)
        place = torch.arange(len(query), device=query.device) + first[query]
        self._scores[query, place], self._rows[query, place] = scores, rows
        self._new += len(query)

    def _prune(self) -> None:
        """Drop who is below the k-th best so far; where very many are near it, decide at once: memory stays bounded."""
        used = int(self._counts.max())
        if used >= self._k:
            self._raise_floor(self._scores[:, :used])
        self._keep(self._scores[:, :used], self._rows[:, :used], self._limit())
        if int(self._counts.max()) > _ROOM // 2 * self._k:
            rows, scores = self._ranked()
            self._keep(scores, rows, torch.full_like(self._floor, _LOWEST))

    def _keep(self, scores: Tensor, rows: Tensor, limit: Tensor) -> None:
        query, column, added = _places(scores >= limit.unsqueeze(1))
        kept = query, rows[query, column], scores[query, column], added
        self._scores, self._rows = (held[:, : _ROOM * self._k].contiguous() for held in (self._scores, self._rows))
        self._scores.fill_(_NONE)
        self._rows.fill_(NO_ROW)
        self._counts = torch.zeros_like(self._counts)
        self._append(*kept)
        self._new = 0

    def _ranked(self) -> tuple[Tensor, Tensor]:
        """Rows and exact scores (R, at most k), best first; NO_ROW and -inf behind the last."""
        rows = self._rows[:, : int(self._counts.max())]
        if not rows.shape[1]:
            return rows, self._scores[:, :0]
        rows = rows.masked_fill(rows == NO_ROW, _LAST).sort(dim=1).values
        known = rows.masked_fill(rows == _LAST, 0)
        step = max(1, _GATHERED[rows.device.type] // max(1, 4 * rows.shape[1] * self._queries.shape[1]))
        blocks = zip(self._queries.split(step), known.split(step), strict=True)
        scores = torch.cat([exact_dots(queries, self._items.take(some)) for queries, some in blocks])
        best, order = torch.sort(scores.masked_fill(rows == _LAST, _NONE), dim=1, descending=True, stable=True)
        best, rows = best[:, : self._k], rows.gather(1, order)[:, : self._k]
        return rows.masked_fill(rows == _LAST, NO_ROW), best


def _places(mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row and column of the True ones, in order, and how many each row has. On a CPU numpy is the faster one."""
    if mask.device.type == "cpu":
        counts = np.count_nonzero(mask.numpy(), axis=1)
        rows = np.repeat(np.arange(len(mask)), counts)
        columns = np.flatnonzero(mask.numpy()) - rows * mask.shape[1]
        return torch.from_numpy(rows), torch.from_numpy(columns), torch.from_numpy(counts)
    row, column = mask.nonzero(as_tuple=True)
    return row, column, mask.sum(1)


def _kth(values: Tensor, k: int) -> Tensor:
    """The k-th greatest of each row."""
    if values.device.type == "cpu" and values.dtype == torch.float32:
        at = values.shape[1] - k
        return torch.from_numpy(np.partition(values.numpy(), at, axis=1)[:, at].copy())
    return torch.topk(values, k, dim=1, sorted=False).values.amin(1)
