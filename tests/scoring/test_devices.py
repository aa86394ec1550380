"""A task computes on the GPU that it was given, and says so when it cannot."""

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pyspark import TaskContext

from scoring.devices import gpu_addresses, index_of, task_device, task_threads
from scoring.errors import DeviceError
from scoring.resource_profiles import DISCOVERY_SCRIPT


@pytest.fixture
def host(monkeypatch):
    """A task with GPUs at ``addresses`` (None: outside a task), on a host of which torch sees ``gpus``."""

    def make(addresses: list[str] | None, gpus: int, visible: str | None = None) -> None:
        held = {"gpu": SimpleNamespace(addresses=addresses)} if addresses else {}
        context = SimpleNamespace(resources=lambda: held, cpus=lambda: 3)
        monkeypatch.setattr(TaskContext, "get", lambda: None if addresses is None else context)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
        monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES")

    return make


@pytest.mark.parametrize(
    ("addresses", "gpus", "visible", "device"),
    [
        (["2"], 4, None, "cuda:2"),
        (["3"], 2, "1,3", "cuda:1"),
        (["GPU-b"], 2, "GPU-a, GPU-b", "cuda:1"),
        ([], 4, None, "cpu"),
        (None, 4, None, "cpu"),
        (["0"], 0, None, "cpu"),
    ],
    ids=["index", "index-among-visible", "uuid", "no-gpu-for-the-task", "outside-a-task", "torch-without-cuda"],
)
def test_a_task_computes_on_its_own_gpu_else_on_the_cpu(host, addresses, gpus, visible, device):
    host(addresses, gpus, visible)
    assert task_device() == torch.device(device)
    assert task_device("cpu") == torch.device("cpu")
    assert gpu_addresses() == (addresses or [])
    assert task_threads() == (1 if addresses is None else 3)


@pytest.mark.parametrize(
    ("address", "visible", "count"),
    [("4", None, 4), ("-1", None, 4), ("GPU-a", None, 4), ("0", "1,3", 2), ("3", "1,3", 1), ("0", "", 0)],
)
def test_a_gpu_that_torch_cannot_see_is_an_error(address, visible, count):
    with pytest.raises(DeviceError, match=f"GPU '{address}', but torch sees {count}"):
        index_of(address, visible, count)


def test_a_wish_for_cuda_is_not_granted_by_the_cpu(host):
    host([], 4)
    with pytest.raises(DeviceError, match=r"Spark gave this task no GPU: .*spark\.profile=gpu"):
        task_device("cuda")
    host(["0"], 0)
    with pytest.raises(DeviceError, match="torch has no CUDA here"):
        task_device("cuda")


@pytest.mark.parametrize(
    ("visible", "addresses"), [("", ["0", "1", "10"]), ("2,3", ["2", "3"]), ("GPU-a, GPU-b", ["GPU-a", "GPU-b"])]
)
def test_discovery_prints_what_spark_reads(tmp_path: Path, visible: str, addresses: list[str]):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '0\\n1\\n10\\n'\n")
    program.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": visible}
    done = subprocess.run([DISCOVERY_SCRIPT], env=env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"name": "gpu", "addresses": addresses}


def test_discovery_fails_on_a_host_without_the_driver(tmp_path: Path):
    (tmp_path / "bash").symlink_to("/bin/bash")
    done = subprocess.run(
        ["/bin/bash", DISCOVERY_SCRIPT], env={"PATH": str(tmp_path)}, capture_output=True, check=False
    )
    assert done.returncode != 0
    assert done.stdout == b""
