import threading
import time

import pytest

from models.prefetch import Prefetch


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_order_whatever_finishes_first(workers: int):
    def make(step: int) -> int:
        time.sleep(0.01 * (step % 3 == 0))
        return step

    assert list(Prefetch(make, range(2, 11), workers)) == list(range(2, 11))


def test_no_more_batches_are_made_than_are_wanted_soon():
    made = []
    batches = iter(Prefetch(lambda step: made.append(step) or step, range(1000), workers=2))
    assert next(batches) == 0
    time.sleep(0.05)
    assert len(made) <= 4
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_time_spent_waiting_is_counted():
    slow = Prefetch(lambda step: time.sleep(0.05) or step, range(2), workers=0)
    list(slow)
    assert slow.waited >= 0.1


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_reaches_the_consumer_at_its_step(workers: int):
    batches = iter(Prefetch(lambda step: 1 // (2 - step), range(5), workers))
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(batches)
