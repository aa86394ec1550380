from pathlib import Path

import pytest

from etl.contract.settings import load
from scoring.config import PrerankConfig
from scoring.context import Context
from scoring.demo import LOGS, _demo_context


@pytest.mark.parametrize(("sets", "decay"), [([], 10.0), (["train.weight_decay=0.5"], 0.5)])
def test_the_demo_trains_as_its_log_needs_it_unless_the_user_says_otherwise(sets, decay, tmp_path: Path):
    context = Context(load(PrerankConfig, None, {}, sets))
    train = _demo_context(context, LOGS["simulate"], tmp_path).config.train
    assert (train.weight_decay, train.batch_requests) == (decay, 48)
    assert train.models_root == str(tmp_path / "models")
