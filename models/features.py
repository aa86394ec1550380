"""``FeatureSpec`` is a model's feature contract. Training, evaluation and bulk scoring all build their arrays here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from etl.contract.manifest import Manifest
from models.checks import check_known, check_range, check_shape
from models.config import TrainConfig
from models.contract import ItemFeatures, QueryFeatures
from models.errors import ExportError, FeatureContractError
from models.hashing import age_buckets, bucket_ids, text_ids


@dataclass(frozen=True)
class HistoryRows:
    """The last L actions of R requests' users, latest first. Where ``valid`` is False the other arrays hold 0."""

    items: npt.NDArray[np.int32]  # (R, L) rows of an item table
    actions: npt.NDArray[np.int8]  # (R, L) index into the spec's actions
    age_seconds: npt.NDArray[np.int64]  # (R, L) before the request
    valid: npt.NDArray[np.bool_]  # (R, L)


@dataclass(frozen=True)
class FeatureSpec:
    """The feature contract of a model: which columns, in which order, hashed how."""

    heads: tuple[str, ...]
    head_weights: tuple[float, ...]
    actions: tuple[str, ...]
    segments: dict[str, tuple[str, ...]]
    """Values by segment; a feature is the index of the value, and index 0 means 'not known'."""
    cross: tuple[str, ...]
    categories: tuple[str, ...]
    numerics: tuple[str, ...]
    dense: tuple[str, ...]
    dense_width: int
    text_buckets: int
    id_buckets: int
    category_buckets: int
    ngram: int
    max_text_features: int
    history_length: int

    @classmethod
    def of(cls, manifest: Manifest, dense_width: int, config: TrainConfig) -> "FeatureSpec":
        return cls(
            heads=tuple(head.name for head in manifest.heads),
            head_weights=tuple(head.weight for head in manifest.heads),
            actions=manifest.actions,
            segments=manifest.segments,
            cross=manifest.cross,
            categories=manifest.categories,
            numerics=manifest.numerics,
            dense=manifest.dense,
            dense_width=dense_width,
            text_buckets=config.text_buckets,
            id_buckets=config.id_buckets,
            category_buckets=config.category_buckets,
            ngram=config.ngram,
            max_text_features=config.max_text_features,
            history_length=min(config.history_length, manifest.history_length),
        )

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "FeatureSpec":
        lists = ("heads", "head_weights", "actions", "cross", "categories", "numerics", "dense")
        segments = {name: tuple(values) for name, values in plain["segments"].items()}
        return cls(**plain | {name: tuple(plain[name]) for name in lists} | {"segments": segments})

    def check(self, manifest: Manifest) -> None:
        """FeatureContractError naming the first column on which the data and this model differ.

        Segment values may differ (see ``segment_maps``), since a vocabulary grows from day to day.
        """
        theirs = {"heads": tuple(head.name for head in manifest.heads), "segments": tuple(manifest.segments)}
        ours = {"heads": self.heads, "segments": tuple(self.segments)}
        for kind in ("actions", "cross", "categories", "numerics", "dense"):
            ours[kind], theirs[kind] = getattr(self, kind), getattr(manifest, kind)
        for kind, names in ours.items():
            for index in range(max(len(names), len(theirs[kind]))):
                mine = names[index] if index < len(names) else None
                other = theirs[kind][index] if index < len(theirs[kind]) else None
                if mine != other:
                    raise FeatureContractError(f"{kind}[{index}]", mine, other)

    def segment_maps(self, manifest: Manifest) -> list[npt.NDArray[np.int32]]:
        """Per segment: the model's index of each of the data's values; values new to the model become 0."""
        maps = []
        for name, values in self.segments.items():
            known = {value: index for index, value in enumerate(values)}
            theirs = manifest.segments[name]
            maps.append(np.array([0, *(known.get(value, 0) for value in theirs[1:])], dtype=np.int32))
        return maps

    def item_features(
        self,
        item_ids: Sequence[str],
        texts: Sequence[str],
        categories: Sequence[Sequence[str]],
        numerics: npt.NDArray[Any],
        dense: npt.NDArray[Any],
    ) -> ItemFeatures:
        """Features of N items: ``categories`` N lists of K, ``numerics`` (N, M), ``dense`` (N, E).

        Raises FeatureContractError for widths other than the model's, ExportError for values that are no numbers; both
        name the column. NaN is a value of ``numerics``: not known.
        """
        count = len(item_ids)
        check_shape("text", (len(texts),), (count,))
        check_shape("categories", (len(categories),), (count,))
        for values in categories:
            check_shape("categories of an item", (len(values),), (len(self.categories),))
        check_shape("numerics", numerics.shape, (count, len(self.numerics)))
        check_shape("dense", dense.shape, (count, self.dense_width))
        for index, name in enumerate(self.numerics):
            if (np.abs(numerics[:, index]) > np.finfo(np.float32).max).any():
                raise ExportError(f"items: numeric '{name}' exceeds float32. Clean the catalogue and export again.")
        hashed = np.zeros((count, len(self.categories)), dtype=np.int32)
        for column in range(len(self.categories)):
            hashed[:, column] = bucket_ids((values[column] for values in categories), self.category_buckets)
        if not np.isfinite(dense).all():
            raise ExportError("items: a dense vector holds NaN or infinity. Clean the catalogue and export again.")
        return ItemFeatures(
            text=torch.from_numpy(text_ids(texts, self.text_buckets, self.ngram, self.max_text_features)),
            item_id=torch.from_numpy(bucket_ids(item_ids, self.id_buckets)),
            categories=torch.from_numpy(hashed),
            numerics=torch.from_numpy(numerics.astype(np.float32)),
            dense=torch.from_numpy(dense.astype(np.float32)),
        )

    def query_features(
        self,
        text: npt.NDArray[np.int32],
        query_id: npt.NDArray[np.int32],
        segments: npt.NDArray[np.int32],
        history: HistoryRows,
        best: npt.NDArray[np.int32],
        items: ItemFeatures,
    ) -> QueryFeatures:
        """Features of R requests; item rows of history and ``best`` (R, B), -1 for none, are looked up in ``items``.

        ``text`` (R, T) and ``query_id`` (R,) come from ``query_text`` and ``query_ids``, ``segments`` is (R, S).
        Raises FeatureContractError for widths, segment values or actions other than the model's, ExportError for a
        history of items that do not exist; both name the column.
        """
        self._check_query_side(query_id, text, segments, history)
        check_range("histories", "items", history.items[history.valid], max(len(items), 1))
        check_range("query_items", "items", best[best >= 0], max(len(items), 1))
        seen = torch.from_numpy(history.valid)  # (R, L)
        zero = torch.zeros((), dtype=torch.int32)
        item, kinds = _looked_up(items, np.where(history.valid, history.items, -1))  # (R, L), (R, L, K)
        top_item, top_kinds = _looked_up(items, best)  # (R, B), (R, B, K)
        ages = torch.from_numpy(age_buckets(history.age_seconds))
        return QueryFeatures(
            text=torch.from_numpy(text),
            query_id=torch.from_numpy(query_id),
            segments=torch.from_numpy(segments),
            history_item=item,
            history_categories=kinds,
            history_action=torch.where(seen, torch.from_numpy(history.actions.astype(np.int32)) + 1, zero),
            history_age=torch.where(seen, ages, zero),
            top_item=top_item,
            top_categories=top_kinds,
        )

    def _check_query_side(
        self,
        query_id: npt.NDArray[np.int32],
        text: npt.NDArray[np.int32],
        segments: npt.NDArray[np.int32],
        history: HistoryRows,
    ) -> None:
        count = len(query_id)
        check_shape("query text", text.shape, (count, self.max_text_features))
        check_shape("segments", segments.shape, (count, len(self.segments)))
        for index, (name, values) in enumerate(self.segments.items()):
            check_known(f"segments.{name}", segments[:, index], values or ("",))
        for name in ("items", "actions", "age_seconds", "valid"):
            check_shape(f"history {name}", getattr(history, name).shape, (count, self.history_length))
        check_known("history actions", history.actions[history.valid], self.actions)

    def query_text(self, query_keys: Sequence[str], texts: Sequence[str]) -> npt.NDArray[np.int32]:
        """Hashed text (R, T): of the query's text, or of its key where the text is empty."""
        chosen = [text or key for key, text in zip(query_keys, texts, strict=True)]
        return text_ids(chosen, self.text_buckets, self.ngram, self.max_text_features)

    def query_ids(self, query_keys: Sequence[str]) -> npt.NDArray[np.int32]:
        return bucket_ids(query_keys, self.id_buckets)


def _looked_up(items: ItemFeatures, rows: npt.NDArray[np.int32]) -> tuple[torch.Tensor, torch.Tensor]:
    """Id (R, L) and category buckets (R, L, K) of item rows (R, L), 0 where the row is -1."""
    known = torch.from_numpy(rows >= 0)
    if not len(items):
        return known.int(), known.int().unsqueeze(-1).expand(*rows.shape, items.categories.shape[1])
    at = torch.from_numpy(np.maximum(rows, 0)).flatten()
    ids = items.item_id.index_select(0, at).view(rows.shape)
    kinds = items.categories.index_select(0, at).view(*rows.shape, items.categories.shape[1])
    return torch.where(known, ids, 0), torch.where(known.unsqueeze(-1), kinds, 0)
