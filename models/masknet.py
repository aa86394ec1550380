"""Parallel MaskNet (Wang et al., 2021; InteractRank 1.2 step 7): blocks that each see the input through a mask of it.

m_k = W2_k relu(W1_k z + b1_k) + b2_k,  o_k = dropout(relu(LN(V_k (m_k * z)))),  output = [o_1; ..; o_K]

All blocks read the same layer-normed z. V has no bias, as in the public code. One choice of ours: b2 starts at 1, so
that an untrained block passes its whole input on.
"""

import torch
from torch import Tensor, nn

from models.model_configs import InteractRankConfig


class MaskBlock(nn.Module):
    """(N, width) -> (N, block_width)."""

    def __init__(self, width: int, config: InteractRankConfig, dropout: float):
        super().__init__()
        self.squeeze = nn.Linear(width, max(1, int(config.mask_ratio * width)))
        self.mask = nn.Linear(self.squeeze.out_features, width)
        nn.init.ones_(self.mask.bias)
        self.project = nn.Linear(width, config.block_width, bias=False)
        self.norm = nn.LayerNorm(config.block_width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, z: Tensor) -> Tensor:
        mask = self.mask(self.squeeze(z).relu())  # (N, width)
        out: Tensor = self.dropout(self.norm(self.project(mask * z)).relu())  # (N, block_width)
        return out


class MaskNet(nn.Module):
    """(N, width) -> (N, blocks * block_width)."""

    def __init__(self, width: int, config: InteractRankConfig, dropout: float):
        super().__init__()
        self.blocks = nn.ModuleList(MaskBlock(width, config, dropout) for _ in range(config.blocks))
        self.width = config.blocks * config.block_width

    def forward(self, z: Tensor) -> Tensor:
        return torch.cat([block(z) for block in self.blocks], dim=-1)
