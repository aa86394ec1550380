import pytest

from scoring.distributed import on_executors

pytestmark = pytest.mark.spark


def test_a_function_runs_in_processes_that_know_each_other(spark):
    def count_and_sum(start: float) -> tuple[int, float]:
        import torch

        from models.distributed import process_group

        with process_group("cpu") as ranks:
            return ranks.count, ranks.sum(torch.tensor(start + ranks.rank)).item()

    assert on_executors(spark, 2, count_and_sum, 1.0) == (2, 3.0)
