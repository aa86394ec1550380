"""The models that an evaluation names: bm25, directories, names below the models' folder, or all of them."""

from pathlib import Path

import torch

from etl.contract.errors import UsageError
from etl.contract.paths import local_path
from models.bm25 import Bm25Scorer
from models.cli import BM25
from models.config import TrainConfig
from models.dataset import Export
from models.distributed import device_of
from models.errors import FeatureContractError, ModelError
from models.evaluate import ORACLE
from models.model_dir import CARD, load
from models.promotion import require_fit
from models.scorers import Scorer, SharedTables, TowerScorer
from models.telemetry import Log

ALL = "all"
#: Folders below the models' folder that hold something else.
_NOT_MODELS = ("versions", "tensorboard", "ablation")


def open_scorers(models: str, config: TrainConfig, export: Export, log: Log) -> dict[str, Scorer]:
    """Scorers by the name they are reported under: the model's name, or its directory's where that is taken.

    With ``all`` that is always the directory's, and two models of one kind stand side by side; a model that cannot be
    opened or does not fit the export is left out with a line, where otherwise it is a ModelError. UsageError for names
    that repeat, or that of the oracle. Models are on the device of ``config``.
    """
    everything = models.strip() == ALL
    scorers: dict[str, Scorer] = {}
    shared, device = SharedTables(), device_of(config.device)
    for part in [BM25, *_trained(config)] if everything else filter(None, map(str.strip, models.split(","))):
        directory = local_path(part)
        if not directory.is_dir() and part == directory.name:
            directory = Path(config.models_root) / part
        scorer: Scorer
        try:
            if part == BM25:
                name, scorer = BM25, Bm25Scorer()
            else:
                name, scorer = _opened(directory, export, shared, device)
            name = directory.resolve().name if everything or name in scorers else name
            if name in scorers:
                raise UsageError(f"--models names '{part}' twice: every model is reported under one name")
            if name == ORACLE:
                raise UsageError(f"{directory} has the name that the truth is reported under. Rename the directory.")
        except (ModelError, UsageError) as error:
            if not everything:
                raise
            log(f"{part} is left out: {error}")
        else:
            scorers[name] = scorer
    if not scorers:
        raise UsageError("--models is empty: expected names or directories, for example bm25,two_tower,interactrank")
    return scorers


def _opened(directory: Path, export: Export, shared: SharedTables, device: torch.device) -> tuple[str, TowerScorer]:
    """The kind of the model in a directory, and its scorer; a ModelError names the directory."""
    loaded = load(directory)
    try:
        require_fit(loaded.card.spec, export)
    except FeatureContractError as error:
        raise ModelError(f"model {directory}: {error}") from error
    return loaded.card.name, TowerScorer(loaded.model.to(device), loaded.card.spec, shared)


def _trained(config: TrainConfig) -> list[str]:
    """Model directories right below the models' folder, by name: not the registered versions, nor unfinished ones."""
    found = sorted(path.parent for path in Path(config.models_root).glob(f"*/{CARD}"))
    return [str(path) for path in found if not path.name.startswith(".") and path.name not in _NOT_MODELS]
