"""InteractRank's ladder: from two towers to the whole model, one step at a time, as plain changes of a setup.

- A step adds its change to what was carried on so far. One with several variants carries on the best of them.
- ``optional`` steps are of training, not of the model: they are carried on only where they are better than without.
- Cross features are named as the export has them, ``{segment}__{feature}`` (see etl.contract.columns).
- What a variant sets is the user's configuration where that has it, so ``--set`` reaches every rung.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from etl.contract.errors import UnknownNameError, UsageError
from etl.contract.manifest import Manifest
from models.config import BCE, FOCAL, TrainConfig
from models.cross_view import EVERY, CrossChoice
from models.model_configs import NONE, SEQUENCE_MODES, InteractRankConfig

TWO_TOWER, INTERACTRANK = "two_tower", "interactrank"
#: Of the public code, where the configuration has none.
_IN_BATCH_WEIGHT = 0.01
_SHARE = r"(?!.*_fresh_share_).*_share_"
_SHARE_DAYS = re.compile(r"all__.*_share_(\d+)d")


@dataclass(frozen=True)
class Setup:
    """What is trained: a model by name, its configuration, and the cross features that it sees."""

    model: str
    config: TrainConfig
    cross: CrossChoice

    def described(self, cross: int) -> dict[str, Any]:
        """What the ladder sets, as JSON values; ``cross`` is the number of cross features."""
        config, own = self.config, self.config.interactrank
        return {
            "model": self.model,
            "cross_features": cross,
            "backoff": self.cross.backoff,
            "sequence": own.sequence,
            "query_items": own.query_items,
            "blocks": own.blocks,
            "in_batch_weight": config.in_batch_weight,
            "loss": config.loss,
        }


@dataclass(frozen=True)
class Variant:
    """A named change: fields of ``train``, fields of ``train.interactrank``, the cross features."""

    name: str
    train: Mapping[str, Any] = field(default_factory=dict)
    interactrank: Mapping[str, Any] = field(default_factory=dict)
    cross: CrossChoice | None = None

    def on(self, setup: Setup) -> Setup:
        own = replace(setup.config.interactrank, **self.interactrank)
        return Setup(INTERACTRANK, replace(setup.config, interactrank=own, **self.train), self.cross or setup.cross)


@dataclass(frozen=True)
class Step:
    key: str
    """What ``--rungs`` calls it."""
    variants: tuple[Variant, ...]
    optional: bool = False


def bottom(config: TrainConfig) -> Setup:
    """The two-tower; nothing that a step adds is on."""
    own = replace(config.interactrank, sequence=NONE, query_items=False, blocks=0)
    return Setup(TWO_TOWER, replace(config, interactrank=own, in_batch_weight=0.0, loss=BCE), CrossChoice(""))


def steps(config: TrainConfig, manifest: Manifest) -> tuple[Step, ...]:
    """All steps above the bottom, in order; what the export has nothing for is left out later (``adds_nothing``)."""
    days = [int(found[1]) for name in manifest.cross if (found := _SHARE_DAYS.fullmatch(name))]
    shortest = rf"all__{_SHARE}{min(days, default=0)}d"
    weight = config.in_batch_weight or _IN_BATCH_WEIGHT
    blocks = config.interactrank.blocks or InteractRankConfig.blocks
    ways = tuple(Variant(f"+ sequence: {mode}", interactrank={"sequence": mode}) for mode in SEQUENCE_MODES)
    return (
        Step("shares", (Variant("+ shares", cross=CrossChoice(shortest)),)),
        Step("windows", (Variant("+ windows", cross=CrossChoice(rf"all__{_SHARE}\d+d")),)),
        Step("segments", (Variant("+ segments", cross=CrossChoice(rf"{_SHARE}\d+d")),)),
        Step("rates", (Variant("+ decays and rates", cross=CrossChoice(EVERY, backoff=False)),)),
        Step("backoff", (Variant("+ token back-off", cross=CrossChoice(EVERY)),)),
        Step("sequence", ways),
        Step("query_items", (Variant("+ query's best items", interactrank={"query_items": True}),)),
        Step("masknet", (Variant("+ masknet", interactrank={"blocks": blocks}),)),
        Step("in_batch", (Variant("+ in-batch loss", train={"in_batch_weight": weight}),), optional=True),
        Step("focal", (Variant("+ focal, not bce", train={"loss": FOCAL}),), optional=True),
    )


def chosen(every: Sequence[Step], rungs: str | None) -> list[Step]:
    """The steps that ``rungs`` names, comma-separated; all without it. UnknownNameError names the nearest."""
    if rungs is None:
        return list(every)
    keys = [part.strip() for part in rungs.split(",") if part.strip()]
    for key in keys:
        if key not in (known := [step.key for step in every]):
            raise UnknownNameError("rung", key, known)
    if not keys:
        raise UsageError("--rungs is empty: expected names, for example shares,segments,sequence")
    return [step for step in every if step.key in keys]


def adds_nothing(change: Setup, setup: Setup, manifest: Manifest) -> bool:
    """Whether a change leaves the setup as it is on this export: there is no second window, say, or no segment."""
    same = _read(change, manifest) == _read(setup, manifest)
    return same and (change.model == setup.model or not change.cross.columns(manifest.cross))


def _read(setup: Setup, manifest: Manifest) -> tuple[Any, ...]:
    """What a setup reads and does, where the export has it."""
    names, own = manifest.cross, setup.config.interactrank
    if not manifest.query_items:
        own = replace(own, query_items=False)
    config = replace(setup.config, interactrank=own)
    return config, setup.cross.columns(names), setup.cross.blanked(names)
