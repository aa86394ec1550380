"""AdamW in three groups of parameters, and the learning rate of each step."""

from typing import Any

import torch
from torch import nn

from models.config import TrainConfig
from models.objective import Objective

_WARM_UP_SHARE = 0.05
_LAST_LEARNING_RATE = 0.1


def optimizer_of(objective: Objective, config: TrainConfig) -> torch.optim.Optimizer:
    """Matrices and tables decay; biases, norms and the few fusion weights do not, and these learn faster."""
    fusion: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    for name, parameter in objective.named_parameters():
        group = fusion if name.startswith("ranker.fusion_layer.") else decayed if parameter.ndim > 1 else plain
        group.append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "factor": 1.0, "weight_decay": config.weight_decay},
        {"params": plain, "factor": 1.0, "weight_decay": 0.0},
        {"params": fusion, "factor": config.fusion_learning_rate_factor, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learning_rate, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Of the given step of ``steps``, counted from 0: a short linear warm-up, then a linear fall to a tenth."""
    warm = max(1, round(steps * _WARM_UP_SHARE))
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return config.learning_rate * (1.0 - (1.0 - _LAST_LEARNING_RATE) * min(done, 1.0))
