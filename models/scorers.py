"""Models as evaluation sees them: rows of a split in, one ranking score per row out, logits where there are any."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from models.contract import Ranker
from models.dataset import Export, Rows
from models.features import FeatureSpec
from models.loader import FeatureTables, RequestLoader

T = TypeVar("T")
SCORING_REQUESTS = 512


class Track(Protocol):
    """Wraps an iterable in a progress bar."""

    def __call__(self, iterable: Iterable[T], description: str, total: int, /) -> Iterable[T]: ...


def no_track(iterable: Iterable[T], description: str, total: int, /) -> Iterable[T]:
    return iterable


@dataclass(frozen=True)
class RowScores:
    ranking: npt.NDArray[np.float64]  # (n,)
    logits: npt.NDArray[np.float64] | None  # (n, H); None for a model without probabilities


class Scorer(Protocol):
    def score(self, export: Export, rows: Rows, description: str, track: Track) -> RowScores: ...


class OracleScorer:
    """The simulator's true probabilities: the ceiling."""

    def score(self, export: Export, rows: Rows, description: str, track: Track) -> RowScores:
        return RowScores(rows.oracle, None)


class SharedTables:
    """Feature tables of the last contract and export that were asked for: models that agree share them.

    Cross features are no part of the tables, so models that differ in them alone share what is hashed.
    """

    def __init__(self) -> None:
        self._last: FeatureTables | None = None

    def of(self, spec: FeatureSpec, export: Export) -> FeatureTables:
        last = self._last
        if last is None or replace(last.spec, cross=spec.cross) != spec or last.export.items is not export.items:
            last = FeatureTables(spec, export)
        elif last.spec != spec or last.export is not export:
            last = last.seen_as(spec, export)
        self._last = last
        return last


class TowerScorer:
    """A trained model; each query and item vector of a batch is computed once."""

    def __init__(self, model: Ranker, spec: FeatureSpec, shared: SharedTables | None = None):
        self.model, self.spec, self._shared = model, spec, shared or SharedTables()

    def tables(self, export: Export) -> FeatureTables:
        return self._shared.of(self.spec, export)

    def score(self, export: Export, rows: Rows, description: str, track: Track) -> RowScores:
        loader = RequestLoader(self.tables(export), rows, SCORING_REQUESTS)
        return score_split(self.model, loader, description, track)


def score_split(model: Ranker, loader: RequestLoader, description: str, track: Track = no_track) -> RowScores:
    """Scores of every row of the loader's split, in the order of the split. The model is left in eval mode."""
    device = model.head_weights.device
    logits = np.empty((len(loader.rows), model.heads))
    ranking = np.empty(len(loader.rows))
    model.eval()
    with torch.inference_mode():
        for batch in track(loader.in_order(), description, len(loader)):
            out = model(batch.to(device))
            rows = batch.rows.numpy()
            logits[rows] = out.cpu().numpy()
            ranking[rows] = model.ranking_score(out).cpu().numpy()
    return RowScores(ranking, logits)
