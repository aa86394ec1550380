"""A model directory: ``weights.safetensors`` and ``model.json``, written aside and renamed, opened through the JSON.

Both files repeat byte for byte when the same training is repeated on the same machine.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from etl.contract.errors import UnknownNameError, UsageError
from etl.contract.manifest import Manifest, other_format
from etl.contract.publish import published_directory
from etl.contract.settings import build, to_plain
from models.code_version import code_version
from models.config import TrainConfig
from models.contract import Ranker
from models.errors import ModelError
from models.features import FeatureSpec
from models.registry import get_model
from models.scaling import CrossScaling
from models.towers import NumericStatistics
from models.train import TrainResult

CARD = "model.json"
WEIGHTS = "weights.safetensors"
FORMAT_VERSION = 1
# Nothing that leaves its folder or hides in it.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class ModelCard:
    """What ``model.json`` says."""

    name: str
    version: str
    """A hash of weights, configuration and feature contract: equal versions score equally."""
    config: TrainConfig
    spec: FeatureSpec
    scaling: CrossScaling
    curve: list[dict[str, float]]
    best_epoch: int
    metrics: dict[str, float]
    data: dict[str, Any]
    """The export that it was trained on: place, digest of the manifest, days, rows, source versions, configuration."""
    code: dict[str, str] = field(default_factory=dict)
    """What trained it: the program's version and, from a checkout, its commit."""
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class LoadedModel:
    card: ModelCard
    model: Ranker
    """In eval mode, on the CPU."""


def save(result: TrainResult, manifest: Manifest, directory: Path, source: Path | None = None) -> ModelCard:
    """Publish a trained model; the model that stood at ``directory`` is replaced.

    ``source`` is the export's directory. Raises UsageError if ``directory`` holds something else than a model.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in result.model.state_dict().items()}
    weights = save_tensors(state)
    scored_by = {
        "config": to_plain(result.config.identity()),
        "spec": to_plain(result.spec),
        "scaling": result.scaling.to_plain(),
    }
    identity = json.dumps([result.name, scored_by], sort_keys=True).encode()
    card = ModelCard(
        name=result.name,
        version=hashlib.sha256(identity + weights).hexdigest()[:16],
        config=result.config,
        spec=result.spec,
        scaling=result.scaling,
        curve=result.curve,
        best_epoch=result.best_epoch,
        metrics=result.metrics,
        data={"directory": str(source or ""), **_data(manifest)},
        code=code_version(),
    )
    with published_directory(directory, CARD, "scaling") as aside:
        (aside / WEIGHTS).write_bytes(weights)
        text = json.dumps(to_plain(asdict(card)), indent=2, ensure_ascii=False, allow_nan=False)
        (aside / CARD).write_text(text + "\n", encoding="utf-8")
    return card


def read_card(directory: Path) -> ModelCard:
    """The description of a model directory; ModelError if it is missing, damaged, of another format, or named
    like a path."""
    path = directory / CARD
    if not path.is_file():
        raise ModelError(
            f"no finished model at {directory}: {CARD} is missing. "
            f"Make one with: prerank train --data DIR --model NAME --out {directory}"
        )
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        version = plain["format_version"]
        if version != FORMAT_VERSION:
            writer = f" Written by {plain['code']}." if plain.get("code") else ""
            raise ModelError(f"{path}: {other_format(version, FORMAT_VERSION)}{writer} Train again.")
        _require_plain_names(path, plain)
        return ModelCard(
            config=build(TrainConfig, plain.pop("config")),
            spec=FeatureSpec.from_plain(plain.pop("spec")),
            scaling=CrossScaling.from_plain(plain.pop("scaling")),
            **plain,
        )
    except (ValueError, KeyError, TypeError, AttributeError, UsageError, UnknownNameError) as error:
        raise ModelError(f"{path} is damaged ({error}): train again") from error


def _require_plain_names(path: Path, plain: dict[str, Any]) -> None:
    """ModelError unless name and version, which become folders and parts of conditions, are plain words."""
    for what in ("name", "version"):
        # JSON promises no types.
        if not (isinstance(value := plain[what], str) and _PLAIN.fullmatch(value)):
            raise ModelError(
                f"{path}: the {what} {value!r} cannot be a folder's name: expected letters, digits, '_', '.' and '-', "
                f"a letter or digit first. Train again."
            )


def load(directory: Path) -> LoadedModel:
    """Open a model directory."""
    card = read_card(directory)
    empty = NumericStatistics.fit(torch.empty(0, len(card.spec.numerics)))
    model = get_model(card.name)(card.spec, card.config, card.scaling, empty)
    path = directory / WEIGHTS
    try:
        model.load_state_dict(load_tensors(path.read_bytes()))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read as weights of '{card.name}' ({error}): train again") from error
    return LoadedModel(card, model.eval())


def _data(manifest: Manifest) -> dict[str, Any]:
    return {
        "manifest": manifest.digest(),
        "start_ds": manifest.start_ds,
        "end_ds": manifest.end_ds,
        "lag_days": manifest.lag_days,
        "history_days": manifest.history_days,
        "rows": manifest.rows,
        "positives": manifest.positives,
        "sources": manifest.sources,
        "config_hash": manifest.config_hash,
    }
