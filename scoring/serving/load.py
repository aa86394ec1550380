"""How a server uses an ``export-serving`` folder: what to look up, how to build the tower's inputs, how to score.

A reference to port rather than a server: it needs torch, pyarrow, numpy, models/hashing.py and program_files.py beside
this file, nothing else of prerank, and no Spark. The folder's ``manifest.json`` states the rules that it follows.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
from pyarrow import dataset

from models.hashing import age_buckets, bucket, bucket_ids, text_ids
from scoring.serving.program_files import load_program

ALL, HAS_HISTORY = "all", "has_history"
#: (item_id, segment) -> the pair's row of interactions.parquet.
PairRows = Mapping[tuple[str, str], Mapping[str, Any]]
#: item_id -> rate by column, of items without a row under (all, '').
Rates = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Request:
    query_key: str
    items: Sequence[str]
    """The candidates; one that the catalogue does not hold is left out, as ``prerank score`` leaves it out."""
    segments: Mapping[str, str]
    history: Sequence[tuple[str, str, int]] = ()
    """(item_id, action, age in seconds) of the user's last engagements, latest first; actions that the model does not
    know are left out."""


class Serving:
    """Items and towers in memory; interactions are read from their file by query."""

    def __init__(self, folder: Path, digest: str = ""):
        self.folder = folder
        text = (folder / "manifest.json").read_bytes()
        if digest and hashlib.sha256(text).hexdigest() != digest:
            raise ValueError(f"{folder / 'manifest.json'} is not the one whose digest is pinned: {digest}")
        self.manifest = json.loads(text)
        self.features, self.fusion, self.rates = (self.manifest[part] for part in ("features", "fusion", "rates"))
        _check_hashing(self.features)
        items = pq.read_table(folder / "items.parquet")
        self.row_of = {item: row for row, item in enumerate(items["item_id"].to_pylist())}
        width = self.manifest["programs"]["item_tower.pt2"]["outputs"][0]["shape"][1]
        self.vectors = _matrix(items["vector"], width)  # (N, Y)
        self.buckets = _matrix(items["buckets"], 1 + len(self.features["categories"]))  # (N, 1 + K)
        self.query_tower = self._program("query_tower.pt2")

    def _program(self, name: str) -> Any:
        path, written = self.folder / name, self.manifest["files"][name]["sha256"]
        if hashlib.sha256(path.read_bytes()).hexdigest() != written:
            raise ValueError(f"{path} is not the file that the manifest was written for: run export-serving again")
        return load_program(path)

    def rank(self, request: Request, k: int = 100) -> list[tuple[str, float]]:
        """The best k candidates with their scores, best first; ties by item_id. None whose score is no number."""
        scores = [entry for entry in self.scores(request).items() if math.isfinite(entry[1])]
        return sorted(scores, key=lambda entry: (-entry[1], entry[0]))[:k]

    def scores(self, request: Request) -> dict[str, float]:
        """item_id -> score of the candidates that the catalogue holds."""
        items = [item for item in dict.fromkeys(request.items) if item in self.row_of]
        if not items:
            return {}
        query = self.query_row(request.query_key)
        cross = self._cross(request, items, query.get("counts"))
        v = self.vectors[[self.row_of[item] for item in items]]  # (P, Y)
        with torch.inference_mode():
            q, *blended = self.query_tower(*self.query_inputs(request, query.get("items") or ()))
            if self.fusion["kind"] == "linear":
                scores = np.float32(self.fusion["dot_weight"]) * (v @ blended[0][0].numpy()) + cross
            else:
                sides = q.expand(len(items), -1), torch.from_numpy(v)
                scores = self.scorer(*sides, torch.from_numpy(cross))[1].numpy()
        return dict(zip(items, scores.tolist(), strict=True))

    def query_row(self, query_key: str) -> Mapping[str, Any]:
        """What queries.parquet holds of a query: its best ``items``, its ``counts``; empty for a query never seen."""
        return next(iter(self._rows("queries.parquet", query_key=[query_key])), {})

    @cached_property
    def scorer(self) -> Any:
        return self._program("scorer.pt2")

    def query_inputs(self, request: Request, best: Sequence[str]) -> tuple[torch.Tensor, ...]:
        """The query tower's inputs for one request (R = 1), in the order of its signature."""
        f, key = self.features, request.query_key
        seen = [entry for entry in request.history if entry[1] in f["actions"]][: f["history_length"]]
        history = np.zeros((1, f["history_length"], self.buckets.shape[1] + 2), dtype=np.int32)
        for place, (item, action, age) in enumerate(seen):
            history[0, place] = (*self._listed(item), 1 + f["actions"].index(action), age_buckets(np.array(age)))
        top = np.zeros((1, f["query_items_length"], self.buckets.shape[1]), dtype=np.int32)
        for place, item in enumerate(best[: f["query_items_length"]]):
            top[0, place] = self._listed(item)
        given = {name: request.segments.get(name, "") for name in f["segments"]}
        places = [values.index(given[name]) if given[name] in values else 0 for name, values in f["segments"].items()]
        inputs = {
            "text": text_ids([key], f["text_buckets"], f["ngram"], f["max_text_features"]),
            "query_id": bucket_ids([key], f["id_buckets"]),
            "segments": np.array(places, dtype=np.int32).reshape(1, -1),
            "history_item": history[:, :, 0],
            "history_categories": history[:, :, 1:-2],
            "history_action": history[:, :, -2],
            "history_age": history[:, :, -1],
            "top_item": top[:, :, 0],
            "top_categories": top[:, :, 1:],
        }
        order = self.manifest["programs"]["query_tower.pt2"]["inputs"]
        return tuple(torch.from_numpy(np.ascontiguousarray(inputs[port["name"]])) for port in order)

    def _listed(self, item: str) -> npt.NDArray[np.int32]:
        """Buckets (1 + K,) of an item's id and categories; of one that the catalogue does not hold that of its id."""
        if item in self.row_of:
            return self.buckets[self.row_of[item]]
        buckets = np.zeros(self.buckets.shape[1], dtype=np.int32)
        buckets[0] = bucket(item, self.features["id_buckets"])
        return buckets

    def _cross(
        self, request: Request, items: Sequence[str], counts: Sequence[int] | None
    ) -> npt.NDArray[np.float32]:  # fmt: skip
        """What each pair's interactions are: one folded number (P,), or the columns that the scorer takes (P, C)."""
        values = {ALL: "", **request.segments}
        rows = {
            (row["item_id"], row["segment_name"]): row
            for row in self._rows("interactions.parquet", query_key=[request.query_key], item_id=items)
            if values.get(row["segment_name"]) == row["segment_value"]
        }
        rates = self._rates(request.query_key, counts, [item for item in items if (item, ALL) not in rows])
        if self.fusion["kind"] == "linear":
            return np.array([self._folded(item, rows, rates) for item in items], dtype=np.float32)
        columns = [[self._raw(item, name, rows, rates) for name in self.fusion["cross"]] for item in items]
        return np.array(columns, dtype=np.float32).reshape(len(items), len(self.fusion["cross"]))

    def _folded(self, item: str, rows: PairRows, rates: Rates) -> float:
        total: float = self.fusion["constant"]
        for place, segment in enumerate(self.fusion["segments"]):
            if (item, segment) in rows:
                total += rows[item, segment]["folded"]
            elif self.rates and (item, ALL) in rows:
                total += rows[item, ALL]["unseen"][place]
            elif self.rates:
                total += sum(_contribution(term, segment, rates[item]) for term in self.fusion["terms"])
        return total

    def _raw(self, item: str, name: str, rows: PairRows, rates: Rates) -> float:
        """One cross feature ``<segment>__<column>``: of its row, else the pair's rate, else 0."""
        segment, _, column = name.partition("__")
        row = rows.get((item, segment))
        if column == HAS_HISTORY:
            return float(row is not None)
        if row is not None:
            return float(row[column])
        if (item, ALL) not in rows:
            return rates[item].get(column, 0.0)
        is_rate = self.rates and any(cell["column"] == column for cell in self.rates["cells"])
        return float(rows[item, ALL][column]) if is_rate else 0.0

    def _rates(self, key: str, counts: Sequence[int] | None, items: Sequence[str]) -> Rates:
        """Those of pairs without a row: from all queries, then this query, then its words with the item."""
        if not self.rates:
            return {item: {} for item in items}
        of_query = np.array(counts or [0] * len(self.rates["counts"]), dtype=np.int64)
        of_words = {item: np.zeros_like(of_query) for item in items}
        for row in self._rows("words.parquet", word=list(dict.fromkeys(key.split(" "))), item_id=items):
            of_words[row["item_id"]] += np.array(row["counts"], dtype=np.int64)
        rates: dict[str, dict[str, float]] = {item: {} for item in items}
        for item in items:
            for cell in self.rates["cells"]:
                rate, strength = cell["start"], cell["strength"]
                for level in (of_query, of_words[item]):
                    rate = (level[cell["done"]] + strength * rate) / (level[cell["shown"]] + strength)
                rates[item][cell["column"]] = float(rate)
        return rates

    def _rows(self, name: str, **keys: Sequence[str]) -> list[dict[str, Any]]:
        """The rows of a file, none if it is not there, whose columns have one of the given values.

        The file is sorted by the first: only the row groups whose bounds hold a value are read.
        """
        if name not in self.manifest["files"] or not all(keys.values()):
            return []
        wanted = [dataset.field(column).isin(list(values)) for column, values in keys.items()]
        first, *others = wanted
        for one in others:
            first &= one
        rows: list[dict[str, Any]] = self._files[name].to_table(filter=first).to_pylist()
        return rows

    @cached_property
    def _files(self) -> Mapping[str, Any]:
        names = [name for name in self.manifest["files"] if name.endswith(".parquet")]
        return {name: dataset.dataset(self.folder / name) for name in names}


def load_serving(folder: str | Path, digest: str = "") -> Serving:
    """Open a finished export; ``digest`` is the one that export-serving printed, where the folder has to be that one.

    Raises ValueError if a program or the manifest was changed, or text is hashed otherwise here than where it was made.
    """
    return Serving(Path(folder), digest)


def _contribution(term: Mapping[str, Any], segment: str, rates: Mapping[str, float]) -> float:
    of, _, column = term["name"].partition("__")
    if of != segment or column not in rates:
        return 0.0
    return float(term["slope"] * math.log1p(term["rate"] * rates[column]))


def _check_hashing(features: Mapping[str, Any]) -> None:
    """The examples of the manifest come out here as they did there."""
    examples = features["examples"]
    texts = list(examples["text"])
    ids = text_ids(texts, features["text_buckets"], features["ngram"], features["max_text_features"])
    found = {
        "text": dict(zip(texts, ids.tolist(), strict=True)),
        "id": {value: bucket(value, features["id_buckets"]) for value in examples["id"]},
        "category": {value: bucket(value, features["category_buckets"]) for value in examples["category"]},
        "age": [[age, int(age_buckets(np.array(age)))] for age, _ in examples["age"]],
    }
    for kind, values in found.items():
        if values != examples[kind]:
            raise ValueError(
                f"features.examples.{kind} of the manifest is not what this program hashes: it comes from another "
                "version of prerank. Run export-serving with this one, or serve with that one."
            )


def _matrix(column: Any, width: int) -> npt.NDArray[Any]:
    """(N, width) of a list column."""
    values: npt.NDArray[Any] = column.combine_chunks().flatten().to_numpy()
    return values.reshape(len(column), width)
