"""The dot product that decides: the same bits on every device, for any blocks and shards.

A matrix product adds in an order that depends on its shape. Here products are added by halves, in an order that the
width alone decides, and each step is one rounding to fp32: an error of at most (2 + log2 D) 2^-24 |q| |v|.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_NARROW = 16
"""Below this width additions run along the pairs, no longer along the vectors."""


def exact_dots(queries: Tensor, items: Tensor) -> Tensor:
    """(R, D) and (R, C, D) -> (R, C), all fp32."""
    terms = items * queries.unsqueeze(1)  # (R, C, D)
    while terms.shape[-1] > _NARROW:
        terms = _halved(terms)
    terms = terms.permute(2, 0, 1).contiguous()  # (D', R, C)
    while len(terms) > 1:
        terms = _halved(terms.permute(1, 2, 0)).permute(2, 0, 1)
    return terms.sum(0)


def _halved(terms: Tensor) -> Tensor:
    """(.., W) -> (.., ceil(W / 2)): place i gets term i plus term i + W // 2, an odd last term stays."""
    half = terms.shape[-1] // 2
    added = terms[..., :half] + terms[..., half : 2 * half]
    return added if terms.shape[-1] == 2 * half else torch.cat([added, terms[..., 2 * half :]], dim=-1)


class ItemShards:
    """N item vectors in parts that follow each other: part i holds the rows from ``starts[i]`` on."""

    def __init__(self, parts: Sequence[Tensor]):
        self.parts = parts
        self.starts: list[int] = np.cumsum([0, *map(len, parts)])[:-1].tolist()

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def sample(self, size: int) -> Tensor:
        """About ``size`` vectors at equal distances, where they lie."""
        step = max(1, len(self) // size)
        return torch.cat([part[-start % step :: step] for part, start in zip(self.parts, self.starts, strict=True)])

    def take(self, rows: Tensor) -> Tensor:
        """Vectors (.., D) of rows (..), on the rows' device."""
        if len(self.parts) == 1:
            return _gathered(self.parts[0], rows)
        out = torch.empty(*rows.shape, self.parts[0].shape[1], device=rows.device)
        for part, start in zip(self.parts, self.starts, strict=True):
            here = (rows >= start) & (rows < start + len(part))
            out[here] = _gathered(part, rows[here] - start)
        return out


def _gathered(part: Tensor, rows: Tensor) -> Tensor:
    flat = part.index_select(0, rows.reshape(-1).to(part.device))
    return flat.to(rows.device, torch.float32).view(*rows.shape, part.shape[1])
