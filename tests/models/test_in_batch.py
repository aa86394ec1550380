from types import SimpleNamespace

import numpy as np
import pytest
import torch

from models.distributed import Ranks
from models.in_batch import Frequencies, InBatchSoftmax


def batch_of(numbers: list[int], pairs: list[tuple[int, int]], labels: list[list[float]]) -> SimpleNamespace:
    return SimpleNamespace(
        item_number=torch.tensor(numbers),
        pair_query=torch.tensor([query for query, _ in pairs]),
        pair_item=torch.tensor([item for _, item in pairs]),
        labels=torch.tensor(labels),
        total_positives=torch.tensor(float(np.sum(labels))),
    )


def reference(q, v, batch, probability, temperature) -> float:
    """By hand: for each positive its own item against every other item of the batch, each less log Q."""
    total, anchors = 0.0, 0
    numbers = batch.item_number.tolist()
    for pair, labels in enumerate(batch.labels.tolist()):
        for head, label in enumerate(labels):
            if label == 0:
                continue
            query, item = int(batch.pair_query[pair]), int(batch.pair_item[pair])
            logit = [temperature * float(q[query, head] @ v[j]) - np.log(probability[n]) for j, n in enumerate(numbers)]
            others = [value for value, n in zip(logit, numbers, strict=True) if n != numbers[item]]
            total -= logit[item] - np.log(np.sum(np.exp([logit[item], *others])))
            anchors += 1
    return total / anchors


def test_it_is_the_softmax_over_the_step_s_items_corrected_by_popularity():
    torch.manual_seed(0)
    q, v = torch.randn(2, 2, 4), torch.randn(4, 4)
    # Items 1 and 3 are versions of one item: never each other's negatives.
    batch = batch_of([7, 8, 9, 8], [(0, 0), (0, 1), (1, 2), (1, 3)], [[1, 0], [0, 1], [0, 0], [1, 1]])
    loss = InBatchSoftmax(dim=4, half_life=10)
    with torch.no_grad():
        loss.log_temperature.fill_(0.7)
    for step in ([7, 8], [7], [7, 9]):
        loss.frequencies.update(torch.tensor(step))
    loss.eval()
    probability = {n: float(loss.frequencies.probability(torch.tensor([n]))[0]) for n in (7, 8, 9)}
    expected = reference(q, v, batch, probability, np.exp(0.7))
    assert loss(q, v, batch, Ranks()).item() == pytest.approx(expected, rel=1e-5)


def test_an_item_s_frequency_is_the_decayed_share_of_steps_that_held_it():
    frequencies = Frequencies(half_life=3)
    keep, steps = 0.5 ** (1 / 3), [[1, 2], [1], [1, 5_000_000_000], [2]]
    for step in steps:
        frequencies.update(torch.tensor(step))
    ages = range(len(steps) - 1, -1, -1)
    total = sum(keep**age for age in ages)
    for number in (1, 2, 5_000_000_000):
        held = sum(keep**age for age, step in zip(ages, steps, strict=True) if number in step)
        assert float(frequencies.probability(torch.tensor([number]))[0]) == pytest.approx(held / total, rel=1e-5)


def test_frequencies_of_many_items_are_close_and_cost_kilobytes():
    frequencies = Frequencies(half_life=200)
    generator = torch.Generator().manual_seed(1)
    for _ in range(200):
        rare = torch.randint(1000, 1_000_000, (1000,), generator=generator)
        frequencies.update(torch.unique(torch.cat([torch.arange(10), rare])))
    found = frequencies.probability(torch.arange(10))
    assert ((found >= 0.999) & (found <= 1.0)).all()
    assert frequencies.probability(torch.arange(500_000, 501_000)).mean() < 3 * 1000 / Frequencies.WIDTH
    assert sum(buffer.nbytes for buffer in frequencies.buffers()) < 300_000


def test_popular_items_are_pushed_down_less():
    q, v = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[1.0, 0.0], [0.6, 0.8]], requires_grad=True)
    batch = batch_of([1, 2], [(0, 0), (0, 1)], [[1.0], [0.0]])
    gradient = {}
    for name, often in (("popular", 50), ("rare", 1)):
        loss = InBatchSoftmax(dim=2, half_life=1000)
        for step in range(50):
            loss.frequencies.update(torch.tensor([1, 2] if step < often else [1]))
        v.grad = None
        loss.eval()(q, v, batch, Ranks()).backward()
        gradient[name] = float(v.grad[1, 0])
    assert 0 < gradient["popular"] < gradient["rare"]


def test_items_of_earlier_steps_join_as_negatives_until_newer_ones_take_their_place():
    torch.manual_seed(0)
    loss = InBatchSoftmax(dim=2, half_life=10, earlier=3).train()
    q, batch = torch.randn(1, 1, 2), batch_of([1, 2], [(0, 0), (0, 1)], [[1.0], [0.0]])
    first = loss(q, torch.randn(2, 2), batch, Ranks())
    assert loss.numbers.tolist() == [1, 2, -1]
    v = torch.randn(2, 2)
    batch.item_number = torch.tensor([3, 4])
    with_memory = loss(q, v, batch, Ranks())
    assert loss.numbers.tolist() == [3, 4, 1]
    assert torch.equal(loss.vectors[:2], v)
    alone = InBatchSoftmax(dim=2, half_life=10).train()
    alone.frequencies.load_state_dict(loss.frequencies.state_dict())
    assert with_memory > alone.eval()(q, v, batch, Ranks())
    assert torch.isfinite(first)


def test_a_batch_without_positives_costs_nothing():
    loss = InBatchSoftmax(dim=2, half_life=10)
    batch = batch_of([1, 2], [(0, 0), (0, 1)], [[0.0], [0.0]])
    assert loss(torch.randn(1, 1, 2), torch.randn(2, 2), batch, Ranks()).item() == 0.0
