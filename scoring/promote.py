"""The promotion job: a trained model against the champion on the same rows -> ``models``."""

from dataclasses import dataclass
from pathlib import Path

from etl.contract import columns as c
from etl.contract.settings import digest
from etl.lake import Lake
from etl.recovery import record_lost_commits
from models.dataset import Export
from models.errors import ModelError
from models.model_dir import ModelCard, load, read_card
from models.promotion import Comparison, Decision, compare, decide, require_fit
from models.scorers import TowerScorer, Track
from models.version_files import KeptVersion, keep_version, load_version
from scoring.config import PrerankConfig
from scoring.errors import NotPromotedError, ScoringError
from scoring.model_versions import ModelVersion, champion_of, record, registered_digest


@dataclass(frozen=True)
class Trial:
    """What a candidate is to be judged by."""

    ds: str
    data: Path
    split: str
    metric: str
    force: bool = False


@dataclass(frozen=True)
class Promotion:
    """How a promotion ended. ``comparison`` is None where the model is the champion already."""

    version: ModelVersion
    comparison: Comparison | None


def promote(lake: Lake, config: PrerankConfig, model_dir: Path, trial: Trial, track: Track) -> Promotion:
    """Compare a model with the champion of the ds and record what follows; its files are kept either way.

    Raises NotPromotedError once a refusal is recorded, ScoringError if the champion cannot be compared (``force``
    goes on without it), ModelError and ExportError for what cannot be opened or does not fit together.
    """
    card, champion = read_card(model_dir), champion_of(lake, trial.ds)
    kept = keep_version(
        model_dir, Path(config.train.models_root), registered_digest(lake, card.name, card.version)
    )  # fmt: skip
    if champion is not None and (champion.model_name, champion.model_version) == (card.name, card.version):
        record_lost_commits(lake, (c.MODELS,))
        return Promotion(champion, None)
    export, candidate = Export(trial.data), load(kept.path)
    require_fit(candidate.card.spec, export)
    opponent, blocked = _opponent(champion, export, trial)
    scorer = TowerScorer(candidate.model, candidate.card.spec)
    comparison = compare(export, scorer, opponent, trial.split, trial.metric, config.train.seed, track)
    decision = decide(comparison, trial.force, blocked)
    _require_same_champion(lake, trial.ds, champion)
    decided = record(
        lake, config, _row(trial, candidate.card, kept, champion, comparison, decision, digest(export.manifest))
    )
    if not decided.promoted:
        assert champion is not None
        raise NotPromotedError(decided.label, champion.label, trial.ds, figures(comparison), decided.reason)
    return Promotion(decided, comparison)


def figures(comparison: Comparison) -> str:
    """Both values and their difference with its interval, in one line."""
    if comparison.champion is None or comparison.difference is None:
        against = ""
    else:
        against = f", champion {comparison.champion.value:.4f}, difference {comparison.difference.text('+.4f')}"
    return (
        f"{comparison.metric} {comparison.candidate.value:.4f}{against} "
        f"({comparison.requests} requests of split '{comparison.split}', 95 % interval, paired)"
    )


def _opponent(champion: ModelVersion | None, export: Export, trial: Trial) -> tuple[TowerScorer | None, str | None]:
    """The champion as a scorer, or why it cannot be one on this data."""
    if champion is None:
        return None, None
    try:
        loaded = load_version(Path(champion.path), champion.files_digest)
        require_fit(loaded.card.spec, export)
    except ModelError as error:
        if trial.force:
            return None, f"champion {champion.label} could not be compared: {error}"
        raise ScoringError(
            f"champion {champion.label} cannot be compared on {trial.data}: {error} To promote the new model without "
            "a comparison, add --force."
        ) from error
    return TowerScorer(loaded.model, loaded.card.spec), None


def _require_same_champion(lake: Lake, ds: str, compared: ModelVersion | None) -> None:
    """A comparison takes minutes; another promotion may have ended meanwhile."""
    lake.refresh(c.MODELS)
    if champion_of(lake, ds) != compared:
        raise ScoringError(f"the champion of {ds} changed during the comparison: run the same command again")


def _row(
    trial: Trial, card: ModelCard, kept: KeptVersion, champion: ModelVersion | None, comparison: Comparison,
    decision: Decision, data_digest: str,
) -> ModelVersion:  # fmt: skip
    own, other, difference = comparison.candidate, comparison.champion, comparison.difference
    return ModelVersion(
        ds=trial.ds,
        model_name=card.name,
        model_version=card.version,
        sequence=0,
        path=str(kept.path),
        files_digest=kept.digest,
        metrics={name: float(value) for name, value in card.metrics.items()},
        trained_start_ds=card.data.get("start_ds"),
        trained_end_ds=card.data.get("end_ds"),
        trained_config_hash=card.data.get("config_hash"),
        contract_digest=digest(card.spec),
        data=str(trial.data.absolute()),
        data_digest=data_digest,
        split=comparison.split,
        metric=comparison.metric,
        rows=comparison.rows,
        requests=comparison.requests,
        value=own.value,
        value_low=own.low,
        value_high=own.high,
        champion_name=None if champion is None else champion.model_name,
        champion_version=None if champion is None else champion.model_version,
        champion_value=None if other is None else other.value,
        difference=None if difference is None else difference.value,
        difference_low=None if difference is None else difference.low,
        difference_high=None if difference is None else difference.high,
        promoted=decision.promoted,
        forced=decision.forced,
        reason=decision.reason,
    )
