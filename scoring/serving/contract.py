"""What a server has to do as we do, in plain values: how text becomes ids, how a pair is scored, how rates back off.

Examples beside the rules let a port in another language check itself.
"""

from typing import Any

import numpy as np

from etl.backoff import count_columns, rate_cells
from etl.contract import columns as c
from etl.contract.manifest import QUERY_ITEMS_LENGTH
from etl.kernels.rates import Priors
from models.contract import Ranker
from models.features import FeatureSpec
from models.fusion import LinearFusionRanker
from models.hashing import AGE_EDGES_SECONDS, age_buckets, bucket, text_ids, words
from scoring.config import PrerankConfig
from scoring.folded import CrossPlan

RULES = {
    "id": "0 for the empty string, else 1 + crc32(UTF-8 bytes) % (buckets - 1), with zlib's crc32, unsigned",
    "words": r"matches of \w+ (Unicode) in the lower-case text, each once, in order",
    "text": "ids of 'w:' + word for each word; then, word by word, of 'g:' + each run of ngram characters of "
    "'<' + word + '>', each once; the first max_text_features of all, padded with 0",
    "age": "1 + the number of age_edges_seconds that are not above the age; 0 is padding",
    "query text": "of query_key, which is the query in NFKC, lower case, white space as single spaces, trimmed",
    "segments": "the place of the value in segments[name], 0 where it is not there",
    "history": "the user's last history_length engagements by one of actions before the request, on its day or on one "
    "of the history_days days before (null: on any), latest first; action is 1 + the place in actions; id and "
    "categories are the item's buckets",
    "top": "the first query_items_length items of the query in queries.parquet",
    "listed items": "of an item in history or top that the catalogue does not hold: its id, and 0 for each category",
}
_TEXTS = ("red shoes", "Red-Shoes red", "Café table", "ΣΑΣ İstanbul", "10% ½ x²", "日本 語", "")
_IDS = ("i0001", "007", "é", "")
_AGES = (0, 3_599, 3_600, 86_400, 2_592_000, 10**10)


def hashing_contract(spec: FeatureSpec, history_days: int | None) -> dict[str, Any]:
    """Sizes, rules and examples of the hashed features; histories reach back ``history_days``, None for all days."""
    ids = text_ids(_TEXTS, spec.text_buckets, spec.ngram, spec.max_text_features)
    return {
        "rules": RULES,
        "text_buckets": spec.text_buckets,
        "id_buckets": spec.id_buckets,
        "category_buckets": spec.category_buckets,
        "ngram": spec.ngram,
        "max_text_features": spec.max_text_features,
        "history_length": spec.history_length,
        "history_days": history_days,
        "query_items_length": QUERY_ITEMS_LENGTH,
        "age_edges_seconds": AGE_EDGES_SECONDS.tolist(),
        "segments": {name: list(values) for name, values in spec.segments.items()},
        "actions": list(spec.actions),
        "categories": list(spec.categories),
        "numerics": list(spec.numerics),
        "dense": list(spec.dense),
        "examples": {
            "words": {text: words(text) for text in _TEXTS},
            "text": {text: row.tolist() for text, row in zip(_TEXTS, ids, strict=True)},
            "id": {value: bucket(value, spec.id_buckets) for value in _IDS},
            "category": {value: bucket(value, spec.category_buckets) for value in _IDS},
            "age": [[age, int(at)] for age, at in zip(_AGES, age_buckets(np.array(_AGES)), strict=True)],
        },
    }


def fusion_contract(model: Ranker) -> dict[str, Any]:
    """How a pair's numbers become its score.

    linear: dot_weight * (blended . v) + constant + what each of ``segments`` adds: ``folded`` of the pair's row under
    the request's value; without a row, and where rates back off, its place in ``unseen`` of the pair's row under
    (all, ''); without that either, the sum over its terms whose feature is a rate of slope * log1p(rate * x).
    scorer: the program's second output, of q, v and the cross features in the order of ``cross``.
    """
    if not isinstance(model, LinearFusionRanker):
        return {"kind": "scorer", "cross": list(model.cross_read())}
    fusion = model.fusion()
    terms = [vars(term) for term in fusion.terms()]
    return {
        "kind": "linear",
        "dot_weight": fusion.dot_weight,
        "constant": fusion.constant(),
        "segments": list(CrossPlan.for_model(model, ()).columns),
        "terms": terms,
    }


def rates_read(model: Ranker, config: PrerankConfig) -> list[tuple[str, int]]:
    """(action, window) of the rates that a model reads: those of a pair without a row are not 0."""
    columns = {name.partition("__")[2] for name in model.cross_read()}
    return [cell for cell in rate_cells(config) if c.window_rate(*cell) in columns]


def rates_contract(cells: list[tuple[str, int]], priors: Priors, as_of: str, config: PrerankConfig) -> dict[str, Any]:
    """How the rates of a pair without a row follow from the counts of its query and of its query's words.

    ``done`` and ``shown`` are places in the lists of counts. Twice, of the query's counts and then of the sum over its
    words: rate = (done + strength * rate) / (shown + strength), beginning with ``start``.
    """
    actions, windows, names = config.events.actions, sorted(config.interactions.windows_days), count_columns(config)
    return {
        "counts": names,
        "cells": [
            {
                "column": c.window_rate(action, days),
                "done": names.index(c.window_count(action, days)),
                "shown": names.index(c.window_count(c.IMPRESSION, days)),
                "start": float(priors.rate[as_of][actions.index(action), windows.index(days)]),
                "strength": float(priors.strength[as_of][actions.index(action)]),
            }
            for action, days in cells
        ],
    }
