"""Training killed at random moments and run again ends where undisturbed training ends."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.models.export_fixture import World, write_export

pytestmark = [pytest.mark.faults, pytest.mark.slow]

KILLS = int(os.environ.get("PRERANK_KILLS") or 3)
SETTINGS = {
    "epochs": 6, "patience": 6, "batch_requests": 4, "checkpoint_steps": 2, "log_steps": 5, "in_batch_weight": 0.1,
    "dim": 16, "text_buckets": 2048, "id_buckets": 512,
}  # fmt: skip


def command(data: Path, out: Path) -> list[str]:
    settings = [f"--set=train.{name}={value}" for name, value in SETTINGS.items()]
    root = f"--set=train.models_root={out.parents[1]}"
    return [sys.executable, "-m", "scoring.main", "train", "--data", str(data), "--model", "interactrank",
            "--out", str(out), root, *settings]  # fmt: skip


def killed(words: list[str], seconds: float) -> bool:
    """Whether the program was still running after so many seconds, and was killed."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return True
        assert process.returncode == 0
        return False


def test_killed_training_goes_on_to_the_same_weights(tmp_path: Path):
    data = write_export(tmp_path / "data", World(requests=(300, 40, 20)))
    whole, other = tmp_path / "whole" / "model", tmp_path / "killed" / "model"
    start = time.monotonic()
    assert not killed(command(data, whole), seconds=600)
    usual = time.monotonic() - start
    moments, kills, rounds = random.Random(5), 0, 0
    while kills < KILLS:
        rounds += 1
        # Start-up does nothing that could be lost: most kills fall into the second half.
        if killed(command(data, other), usual * moments.uniform(0.3, 1.0)):
            kills += 1
            assert not other.exists() or (other / "model.json").is_file()
    assert not killed(command(data, other), seconds=600)
    files = {path.name for path in whole.iterdir()}
    assert files == {path.name for path in other.iterdir()} == {"model.json", "weights.safetensors"}
    for name in files:
        assert (whole / name).read_bytes() == (other / name).read_bytes()
    assert {path.name for path in other.parent.iterdir()} == {"model"}
