import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from models.distributed import Ranks
from models.errors import TrainingError
from models.telemetry import Telemetry


def test_a_line_an_interval_says_how_it_goes():
    said: list[str] = []
    telemetry = Telemetry("two_tower", ("click", "save"), 10, 2, Ranks(), said.append)
    for done, losses in enumerate([[1.0, 0.5, 0.0, 0.2], [3.0, 0.5, 0.0, 0.6], [7.0, 7.0, 0.0, 0.0]], start=1):
        telemetry.step(done, torch.tensor(losses), rows=100, rate=0.01, waited=0.0)
    [line] = said
    assert line.startswith("two_tower step 2/10 loss_click=2 loss_save=0.5 loss_own=0.4 learning_rate=0.01 ")
    assert re.search(r"rows_per_second=\S+ wait_share=0 eta_seconds=\d+$", line)


def test_what_lies_between_two_epochs_is_no_part_of_an_interval(monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    clock = iter([0.0, 1.0, 5.0, 105.0, 108.0, 108.0])
    monkeypatch.setattr("models.telemetry.time", SimpleNamespace(monotonic=lambda: next(clock)))
    telemetry = Telemetry("two_tower", ("click",), 10, 2, Ranks(), said.append)
    telemetry.resume()
    telemetry.step(1, torch.tensor([1.0, 0.0, 0.0]), rows=30, rate=0.01, waited=0.0)
    telemetry.pause()
    telemetry.resume()
    telemetry.step(2, torch.tensor([1.0, 0.0, 0.0]), rows=40, rate=0.01, waited=0.0)
    # 4 seconds before and 3 after a validation of 100.
    assert "rows_per_second=10 " in said[0]


def test_only_the_first_rank_speaks():
    said: list[str] = []
    telemetry = Telemetry("two_tower", ("click",), 1, 1, Ranks(rank=0), said.append)
    telemetry.epoch(1, "an epoch", {})
    quiet = Telemetry("two_tower", ("click",), 1, 1, Ranks(rank=1), said.append)
    quiet.epoch(1, "an epoch", {})
    assert said == ["an epoch"]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run_within_an_interval(bad: float):
    telemetry = Telemetry("two_tower", ("click",), 10, 1, Ranks(), lambda line: None)
    with pytest.raises(TrainingError, match=r"step 1.*learning_rate"):
        telemetry.step(1, torch.tensor([bad, 0.0, 0.0]), rows=1, rate=0.01, waited=0.0)


def test_figures_go_to_tensorboard_files(tmp_path: Path):
    telemetry = Telemetry("two_tower", ("click",), 10, 1, Ranks(), lambda line: None)
    telemetry.write_to(tmp_path / "events", done=0)
    telemetry.step(1, torch.tensor([0.25, 0.0, 0.0]), rows=1, rate=0.01, waited=0.0)
    telemetry.close()
    [file] = (tmp_path / "events").iterdir()
    assert b"train/loss_click" in file.read_bytes()
