"""Python workers of a test's cluster: they write down which GPU a task got, and one waits to be killed if asked to.

Spark starts this module in place of etl.worker_daemon, before any worker imports what it runs.
"""

import json
import os
import time
from pathlib import Path
from unittest import mock

import torch
from pyspark import TaskContext, daemon

import scoring.devices
from etl.worker_daemon import prepare

FOLDER = "PRERANK_TEST_FOLDER"
#: While this file is there, a task of the second stage that runs a model waits; what it is and where goes into HELD.
HOLD, HELD = "hold", "held.json"
#: GPUs of a host whose torch had CUDA.
GPUS = 16

_task_device = scoring.devices.task_device
_executor = os.getppid()


def task_device(wanted: str = "auto") -> torch.device:
    """What the real one answers on a host with GPUs is recorded; the task itself computes on the CPU."""
    context, folder = TaskContext.get(), Path(os.environ[FOLDER])
    assert context is not None
    with mock.patch.multiple(torch.cuda, is_available=lambda: True, device_count=lambda: GPUS):
        device = _task_device(wanted)
    entry = {
        "stage": context.stageId(), "attempt": context.attemptNumber(), "partition": context.partitionId(),
        "addresses": scoring.devices.gpu_addresses(), "device": str(device), "executor": _executor,
    }  # fmt: skip
    text = json.dumps(entry)
    (folder / "unread").mkdir(exist_ok=True)
    aside = folder / "unread" / str(context.taskAttemptId())
    aside.write_text(text)
    aside.rename(folder / f"task-{context.taskAttemptId()}.json")
    _wait(folder, context.stageId(), text)
    return torch.device("cpu")


def _wait(folder: Path, stage: int, text: str) -> None:
    begun = [json.loads(path.read_text())["stage"] for path in folder.glob("task-*.json")]
    # Two executors of one core: when a third task begins, one of the first has ended.
    if not (folder / HOLD).exists() or stage == min(begun) or begun.count(stage) < 3:
        return
    try:
        with (folder / HELD).open("x") as held:
            held.write(text)
    except FileExistsError:
        return
    while (folder / HOLD).exists():
        time.sleep(0.1)


if __name__ == "__main__":
    scoring.devices.task_device = task_device
    prepare()
    daemon.manager()
