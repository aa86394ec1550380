import torch
from torch import Tensor

from etl.contract.manifest import TEST
from models.contract import Cost, Ranker
from models.cost import _finished, cost_of, pairs_per_second
from models.dataset import Export
from models.scorers import TowerScorer
from models.train import TrainResult


class Counting(Ranker):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__((1.0,), 2)
        self.calls = 0

    def score(self, q: Tensor, v: Tensor, cross: Tensor) -> Tensor:
        self.calls += 1
        return (q * v).sum(1, keepdim=True)

    def cost(self) -> Cost:
        return Cost(4, 8)


def test_a_cost_holds_what_is_declared_and_what_was_measured(export: Export, two_tower: TrainResult):
    found = cost_of(TowerScorer(two_tower.model, two_tower.spec), export, TEST)
    declared = two_tower.model.cost()
    assert (found["flops_per_pair"], found["bytes_per_pair"]) == (declared.flops, declared.bytes)
    assert found["parameters"] == sum(parameter.numel() for parameter in two_tower.model.parameters())
    assert found["pairs_per_second"] > 1000
    assert found["threads"] == torch.get_num_threads()


def test_a_split_of_few_pairs_is_gone_through_again(export: Export, two_tower: TrainResult):
    rows = export.split(TEST)
    assert len(rows) < 4096
    assert cost_of(TowerScorer(two_tower.model, two_tower.spec), export, TEST)["pairs_per_second"] > 0


def test_timings_wait_for_what_a_gpu_was_asked_to_do(monkeypatch):
    waited: list[str] = []
    monkeypatch.setattr("models.cost.torch.cuda.synchronize", lambda device: waited.append(str(device)))
    for device in ("cuda:0", "cpu"):
        _finished(torch.device(device))
    assert waited == ["cuda:0"]


def test_speed_is_the_median_of_several_timings_of_score_alone(monkeypatch):
    lasts = [1.0, 2.0, 1.0, 9.0, 1.0, 2.0, 2.0, 4.0]
    clock = iter([tick for index, seconds in enumerate(lasts) for tick in (10.0 * index, 10.0 * index + seconds)])
    monkeypatch.setattr("models.cost.time.perf_counter", lambda: next(clock))
    model = Counting()
    speed = pairs_per_second(model, torch.ones(6, 2), torch.ones(6, 2), torch.zeros(6, 0))
    assert speed == 6 / 2.0
    assert model.calls == len(lasts)
