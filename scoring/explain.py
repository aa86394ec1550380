"""Where the score of one (request, item) pair comes from: every part of the sum, or what a model that is no sum sees.

Features come through etl.cross, as training gets them, not from what bulk scoring folds: where the two disagreed, the
score that ``scores`` holds would differ from the one here.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pyspark.sql import Row
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.lake import Lake
from models.contract import Ranker
from models.fusion import LinearCross, LinearFusionRanker
from models.model_dir import load
from models.scaling import CrossScaling
from scoring.config import PrerankConfig
from scoring.explain_rows import Pair, is_candidate, pair_of, request_of
from scoring.seen import require_same_features

DOT, TOWERS, BIAS = "dot product", "towers", "bias"


@dataclass(frozen=True)
class Part:
    """A summand of the score, or an input of it where the model is no sum: then weight and contribution are None."""

    name: str
    raw: float | None
    scaled: float | None
    weight: float | None
    contribution: float | None


@dataclass(frozen=True)
class HeadScore:
    head: str
    weight: float
    """The weights of all heads sum to 1."""
    dot: float | None
    """Of the head's query vector and the item vector, where the model has such."""
    logit: float


@dataclass(frozen=True)
class Explanation:
    ds: str
    as_of: str
    catalogue: str
    model: str
    model_version: str
    request_id: str
    query_key: str
    user_id: str | None
    segments: dict[str, str]
    item_id: str
    is_candidate: bool | None
    candidates: int | None
    """Distinct items of the request's candidate set; both are None for a list that could not be read."""
    heads: tuple[HeadScore, ...]
    parts: tuple[Part, ...]
    """Contributions, where there are any, add up to ``score``."""
    score: float
    """The head-weighted logit."""
    stored: bool
    """Whether ``scores`` holds this request as ranked by this model version; the following are of there."""
    stored_score: float | None
    rank: int | None
    """From 1; None for an item below the best that were kept."""
    ranked: int | None
    """How many were kept."""


def explain(lake: Lake, config: PrerankConfig, ds: str, model_dir: Path, request_id: str, item_id: str) -> Explanation:
    """Score one pair of ``ds`` from its own rows. The item need not be a candidate of the request.

    Raises UnknownRequestError, UnknownItemError, MissingDataError for a missing table or day, ScoringError if model and
    lake do not fit together.
    """
    loaded = load(model_dir)
    require_same_features(loaded, config)
    request = request_of(lake, ds, request_id)
    pair = pair_of(lake, config, ds, loaded, request, item_id)
    heads, parts, score = parts_of(loaded.model, loaded.card.spec.heads, loaded.card.scaling, pair)
    stored = _stored(lake, ds, loaded.card.version, request_id)
    ranked = [] if stored is None else stored.ranked
    at = next((place for place, entry in enumerate(ranked) if entry.item_id == item_id), None)
    return Explanation(
        ds=ds,
        as_of=pair.as_of,
        catalogue=pair.catalogue,
        model=loaded.card.name,
        model_version=loaded.card.version,
        request_id=request_id,
        query_key=request.query_key,
        user_id=request.user_id,
        segments=dict(request.segments or {}),
        item_id=item_id,
        is_candidate=is_candidate(request, item_id),
        candidates=None if request["items"] is None else len(set(request["items"])),
        heads=heads,
        parts=parts,
        score=score,
        stored=stored is not None,
        stored_score=None if at is None else ranked[at].score,
        rank=None if at is None else at + 1,
        ranked=None if stored is None else len(ranked),
    )


def parts_of(
    model: Ranker, heads: tuple[str, ...], scaling: CrossScaling, pair: Pair
) -> tuple[tuple[HeadScore, ...], tuple[Part, ...], float]:
    """Heads, parts and score of one pair."""
    whole = torch.tensor([[pair.cross.get(name, 0.0) for name in scaling.names]])  # (1, C)
    with torch.inference_mode():
        q, v = model.encode_query(pair.queries), model.encode_item(pair.items)
        logits = model.score(q, v, whole)[0]
        total = float(model.ranking_score(logits))
        vectors = model.head_vectors(q, v)
        dots = [None] * len(heads) if vectors is None else (vectors[0][0] @ vectors[1][0]).tolist()
    weights = model.head_weights.tolist()
    columns = zip(heads, weights, dots, logits.tolist(), strict=True)
    told = tuple(HeadScore(*column) for column in columns)
    layer = getattr(model, "fusion_layer", None)
    features = _features(pair, scaling, layer if isinstance(layer, LinearCross) else None)
    if isinstance(model, LinearFusionRanker):
        fusion = model.fusion()
        dot = sum(head.weight * head.dot for head in told if head.dot is not None)
        bias = float(np.dot(weights, fusion.bias))
        parts = (
            Part(DOT, dot, None, fusion.dot_weight, fusion.dot_weight * dot),
            *features,
            Part(BIAS, None, None, None, bias),
        )
        return told, parts, sum(part.contribution or 0.0 for part in parts)
    if isinstance(layer, LinearCross):
        rest = total - sum(part.contribution or 0.0 for part in features)
        return told, (Part(TOWERS, None, None, None, rest), *features), total
    return told, features, total


def _features(pair: Pair, scaling: CrossScaling, layer: LinearCross | None) -> tuple[Part, ...]:
    """The cross features that the model reads, with their weights where they are summed."""
    names = list(scaling.names)
    known = {} if layer is None else dict(zip(layer.scaling.names, layer.weight.tolist(), strict=True))
    scaled = scaling.apply(np.array([[pair.cross.get(name, 0.0) for name in names]]))[0]
    parts = []
    for name, raw in pair.cross.items():
        value, weight = float(scaled[names.index(name)]), known.get(name)
        parts.append(Part(name, raw, value, weight, None if weight is None else weight * value))
    return tuple(parts)


def _stored(lake: Lake, ds: str, version: str, request_id: str) -> Row | None:
    if not lake.exists(c.SCORES):
        return None
    of_request = (F.col("model_version") == version) & (F.col("request_id") == request_id)
    rows = lake.read(c.SCORES, DateRange(ds, ds)).where(of_request).select("ranked")
    return next(rows.toLocalIterator(), None)
