import numpy as np
import pytest
import torch

from models.config import BCE, FOCAL
from models.losses import per_head

LOGITS, LABELS = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
WEIGHT = torch.tensor([1.0, 3.0])


@pytest.mark.parametrize(("kind", "gamma"), [(BCE, 0.0), (FOCAL, 2.0), (FOCAL, 0.5)])
def test_a_head_s_loss_is_the_weighted_mean_over_rows(kind: str, gamma: float):
    right = np.where(LABELS.numpy() > 0, torch.sigmoid(LOGITS).numpy(), 1 - torch.sigmoid(LOGITS).numpy())
    each = -np.log(right) * (1 - right) ** gamma
    expected = (each * WEIGHT.numpy()[:, None]).sum(0) / 4
    found = per_head(kind, LOGITS, LABELS, WEIGHT, torch.tensor(4.0), gamma)
    assert found.numpy() == pytest.approx(expected, rel=1e-5)


def test_parts_of_a_step_add_up_to_the_whole():
    whole = per_head(BCE, LOGITS, LABELS, WEIGHT, torch.tensor(4.0))
    parts = [per_head(BCE, LOGITS[i], LABELS[i], WEIGHT[i], torch.tensor(4.0)) for i in (slice(0, 1), slice(1, 2))]
    assert torch.allclose(parts[0] + parts[1], whole)


def test_the_size_of_the_loss_is_independent_of_the_weights_unit():
    one = per_head(BCE, LOGITS, LABELS, WEIGHT, WEIGHT.sum())
    assert torch.allclose(per_head(BCE, LOGITS, LABELS, WEIGHT * 20, WEIGHT.sum() * 20), one)


def test_focal_of_a_certain_and_right_row_is_zero_with_a_finite_gradient():
    logits = torch.tensor([[60.0]], requires_grad=True)
    loss = per_head(FOCAL, logits, torch.tensor([[1.0]]), torch.ones(1), torch.tensor(1.0)).sum()
    loss.backward()
    assert loss.item() == 0.0
    assert torch.isfinite(logits.grad).all()
