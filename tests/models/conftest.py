"""One small export, opened once, and one quick training of each model."""

from pathlib import Path

import pytest

from models.config import TrainConfig
from models.dataset import Export
from models.train import TrainResult, train
from tests.models.export_fixture import write_export

CONFIG = TrainConfig(
    epochs=8,
    batch_requests=32,
    learning_rate=0.01,
    dim=16,
    hidden=(32,),
    id_dim=8,
    category_dim=4,
    text_buckets=2048,
    id_buckets=512,
    category_buckets=64,
    max_text_features=32,
    history_length=10,
    device="cpu",
)


@pytest.fixture(scope="session")
def config() -> TrainConfig:
    return CONFIG


@pytest.fixture(scope="session")
def export_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_export(tmp_path_factory.mktemp("export") / "data")


@pytest.fixture(scope="session")
def export(export_dir: Path) -> Export:
    return Export(export_dir)


@pytest.fixture(scope="session")
def interactrank(export: Export) -> TrainResult:
    return train(CONFIG, export, "interactrank")


@pytest.fixture(scope="session")
def two_tower(export: Export) -> TrainResult:
    return train(CONFIG, export, "two_tower")
