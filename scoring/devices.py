"""Where a task computes: on the GPU that Spark has given it, else on the CPU."""

import os

import torch
from pyspark import TaskContext

from scoring.config import AUTO, CPU, CUDA
from scoring.errors import DeviceError

GPU = "gpu"


def task_device(wanted: str = AUTO) -> torch.device:
    """The device of the Spark task that calls this; ``wanted`` is ``score.device``.

    A task without a GPU of its own computes on the CPU, however many GPUs the host has: another task may be using them.
    So does every task where torch has no CUDA. Raises DeviceError for ``cuda`` in both cases, and always for an address
    that torch cannot see.
    """
    if wanted == CPU:
        return torch.device(CPU)
    # nvidia-smi counts by the bus, CUDA by speed unless told before its start: an address has to mean the same to both.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    addresses, there = gpu_addresses(), torch.cuda.is_available()
    if addresses and there:
        index = index_of(addresses[0], os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count())
        return torch.device(CUDA, index)
    if wanted == CUDA:
        missing = "torch has no CUDA here" if addresses else "Spark gave this task no GPU"
        raise DeviceError(
            f"score.device is cuda, but {missing}: run with spark.profile=gpu on hosts whose torch sees their GPUs, or "
            "set score.device=auto"
        )
    return torch.device(CPU)


def gpu_addresses() -> list[str]:
    """The GPUs of the task that calls this, as the discovery script named them; [] outside a task."""
    context = TaskContext.get()
    held = context.resources().get(GPU) if context else None
    return list(held.addresses) if held else []


def task_threads() -> int:
    """How many threads torch may use in the task that calls this: its ``spark.task.cpus``, 1 outside a task."""
    context = TaskContext.get()
    return context.cpus() if context else 1


def index_of(address: str, visible: str | None, count: int) -> int:
    """torch's number for the GPU at ``address``, an index as nvidia-smi counts, or a UUID.

    ``visible`` is CUDA_VISIBLE_DEVICES: torch numbers what it lists, in its order. ``count`` GPUs are seen by torch.
    Raises DeviceError for an address that is none of them.
    """
    listed = visible.replace(" ", "").split(",") if visible is not None else [str(index) for index in range(count)]
    index = listed.index(address) if address in listed else count
    if index >= count:
        given = "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible})"
        raise DeviceError(
            f"Spark gave this task the GPU '{address}', but torch sees {count} on this host{given}, and it is none of "
            "them: discovery script and Python workers have to see the same devices"
        )
    return index
