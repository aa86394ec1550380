"""Training killed at random moments and run again ends where undisturbed training ends."""

import os
import sys
from pathlib import Path

import pytest

from tests.killing import duration, kill_again_and_again
from tests.models.export_fixture import World, write_export

pytestmark = [pytest.mark.faults, pytest.mark.slow]

KILLS = int(os.environ.get("PRERANK_KILLS") or 3)
SETTINGS = {
    "epochs": 6, "patience": 6, "batch_requests": 4, "checkpoint_steps": 2, "log_steps": 5, "in_batch_weight": 0.1,
    "dim": 16, "text_buckets": 2048, "id_buckets": 512,
}  # fmt: skip


def test_killed_training_goes_on_to_the_same_weights(tmp_path: Path):
    data = write_export(tmp_path / "data", World(requests=(300, 40, 20)))
    settings = [f"--set=train.{name}={value}" for name, value in SETTINGS.items()]
    words = [sys.executable, "-m", "scoring.main", "train", "--data", str(data), "--model", "interactrank",
             f"--set=train.models_root={tmp_path}", *settings, "--out"]  # fmt: skip
    whole, other = tmp_path / "whole" / "model", tmp_path / "killed" / "model"
    usual = duration([*words, str(whole)])

    def nothing_is_half_written() -> None:
        assert not other.exists() or (other / "model.json").is_file()

    kill_again_and_again([*words, str(other)], usual, KILLS, nothing_is_half_written)
    files = {path.name for path in whole.iterdir()}
    assert files == {path.name for path in other.iterdir()} == {"model.json", "weights.safetensors"}
    for name in files:
        assert (whole / name).read_bytes() == (other / name).read_bytes()
    assert {path.name for path in other.parent.iterdir()} == {"model"}
