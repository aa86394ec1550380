"""Parallel mask blocks against a plain reference."""

import numpy as np
import pytest
import torch

from models.masknet import MaskBlock, MaskNet
from models.model_configs import InteractRankConfig

CONFIG = InteractRankConfig(blocks=2, block_width=3, mask_ratio=0.5)


def _by_hand(z: np.ndarray, block: MaskBlock) -> np.ndarray:
    weight = {name: value.detach().numpy().astype(float) for name, value in block.named_parameters()}
    hidden = np.maximum(weight["squeeze.weight"] @ z + weight["squeeze.bias"], 0)
    mask = weight["mask.weight"] @ hidden + weight["mask.bias"]
    x = weight["project.weight"] @ (mask * z)
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    return np.maximum(x * weight["norm.weight"] + weight["norm.bias"], 0)


def test_each_block_masks_projects_and_norms_the_same_input():
    torch.manual_seed(2)
    net = MaskNet(4, CONFIG, dropout=0.5).eval()
    z = torch.randn(2, 4)
    expected = [np.concatenate([_by_hand(row, block) for block in net.blocks]) for row in z.numpy().astype(float)]
    np.testing.assert_allclose(net(z).detach().numpy(), expected, atol=1e-5)


def test_the_bottleneck_is_a_share_of_the_input_and_never_empty():
    assert MaskBlock(25, InteractRankConfig(mask_ratio=0.1), 0.0).squeeze.out_features == 2
    assert MaskBlock(4, InteractRankConfig(mask_ratio=0.1), 0.0).squeeze.out_features == 1


def test_no_rows_are_no_rows():
    assert MaskNet(4, CONFIG, 0.1)(torch.zeros(0, 4)).shape == (0, 6)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"sequence": "last"}, "known are none, mean, pooling, attention, both"),
        ({"blocks": -1}, "blocks must be 0 or more"),
        ({"block_width": 0}, "block_width must be 1 or more"),
        ({"mask_ratio": 0.0}, "mask_ratio must lie"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: dict, message: str):
    with pytest.raises(ValueError, match=message):
        InteractRankConfig(**setting)
