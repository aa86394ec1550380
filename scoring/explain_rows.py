"""What the lake knows of one (request, item) pair: the rows of that request, its user, its query and the item only."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from etl.backoff import Backoff, backoff_of
from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.contract.manifest import QUERY_ITEMS_LENGTH
from etl.cross import cross_names, needs_backoff, with_cross
from etl.errors import MissingDataError
from etl.item_versions import VERSION, described_items
from etl.lake import Lake
from etl.plan import require_current
from etl.query_items import can_rank
from etl.query_windows import AS_OF
from models.contract import ItemFeatures, QueryFeatures
from models.features import FeatureSpec, HistoryRows
from models.model_dir import LoadedModel
from scoring.config import PrerankConfig
from scoring.embed import item_features
from scoring.errors import UnknownItemError, UnknownRequestError
from scoring.request_lists import recent_actions
from scoring.seen import catalogue_day, day_seen

_HASH = "hash"


@dataclass(frozen=True)
class Pair:
    """One pair with all that a model sees of it."""

    as_of: str
    catalogue: str
    queries: QueryFeatures  # (1,)
    items: ItemFeatures  # (1,)
    cross: dict[str, float]
    """Unscaled, by name, in the order of the model's; empty if the model reads none."""


def request_of(lake: Lake, ds: str, request_id: str) -> Row:
    """The request's row of ``candidates``; UnknownRequestError names the nearest."""
    day = DateRange(ds, ds)
    candidates = lake.read(c.CANDIDATES, day)
    found = next(candidates.where(F.col("request_id") == request_id).limit(1).toLocalIterator(), None)
    if found is None:
        if candidates.isEmpty():
            raise MissingDataError(c.CANDIDATES, day, lake.path(c.CANDIDATES))
        raise UnknownRequestError(request_id, ds, _nearest(candidates, "request_id", request_id))
    return found


def is_candidate(request: Row, item_id: str) -> bool | None:
    """Of a row of ``candidates``; None where its list could not be read."""
    return None if request["items"] is None else item_id in request["items"]


def pair_of(lake: Lake, config: PrerankConfig, ds: str, loaded: LoadedModel, request: Row, item_id: str) -> Pair:
    """The pair as requests of ``ds`` see it.

    Raises UnknownItemError, or MissingDataError for a table or day that scoring needs.
    """
    as_of, spec = day_seen(config, ds), loaded.card.spec
    snapshot = catalogue_day(lake, as_of)
    catalogue = lake.read(c.ITEMS, DateRange(snapshot, snapshot))
    if catalogue.where(F.col("item_id") == item_id).isEmpty():
        nearest = _nearest(catalogue, "item_id", item_id)
        raise UnknownItemError(item_id, snapshot, is_candidate(request, item_id), nearest)
    events = lake.read(c.EVENTS, DateRange(shift_ds(ds, -config.export.history_days), shift_ds(ds, -1)))
    events = events.where(F.col("user_id") == request.user_id)
    best = _best_items(lake, config, as_of, request.query_key)
    listed = lake.spark.createDataFrame([(item,) for item in (item_id, *best)], "item_id string")
    touched = events.where(F.col("action") != c.IMPRESSION).select("item_id").unionByName(listed)
    known = _described(catalogue, touched.distinct(), snapshot, spec)
    row_of = {item: row for row, item in enumerate(known["item_id"].to_pylist())}
    features = item_features(known.combine_chunks().to_batches()[0], spec)
    user = lake.spark.createDataFrame([(request.user_id,)], "user_id string")
    latest = next(recent_actions(events, user, spec, ds).toLocalIterator(), None)
    row_of_hash = {item: row for row, item in enumerate(known[_HASH].to_pylist())}
    history = _history([] if latest is None else latest.history, row_of_hash, spec.history_length)
    top = [row_of[item] for item in best]
    return Pair(
        as_of=as_of,
        catalogue=snapshot,
        queries=_query_features(spec, request, history, top, features),
        items=features.take(features.item_id.new_tensor([row_of[item_id]]).long()),
        cross=_cross(lake, config, as_of, loaded, request, item_id),
    )


def _described(catalogue: DataFrame, touched: DataFrame, snapshot: str, spec: FeatureSpec) -> pa.Table:
    """Each item of ``touched`` (item_id), as an export describes it, with its hash; by its id alone if the
    ``catalogue`` does not hold it."""
    held = catalogue.join(F.broadcast(touched), "item_id", "left_semi")
    references = touched.withColumn(VERSION, F.lit(snapshot))
    known = described_items(references, held, spec.categories, spec.numerics, spec.dense)
    return known.withColumn(_HASH, F.xxhash64("item_id")).orderBy("item_id").toArrow()


def _best_items(lake: Lake, config: PrerankConfig, as_of: str, query_key: str) -> list[str]:
    if not can_rank(config):
        return []
    lists = lake.read(c.QUERY_ITEMS, DateRange(as_of, as_of)).where(F.col("query_key") == query_key)
    found = next(lists.select("items").toLocalIterator(), None)
    return [] if found is None else list(found["items"])


def _history(entries: list[Row], row_of_hash: dict[int, int], length: int) -> HistoryRows:
    """(1, L) of entries with item, action and age, latest first."""
    items, actions, ages, valid = (np.zeros((1, length), kind) for kind in (np.int32, np.int8, np.int64, np.bool_))
    for place, entry in enumerate(entries):
        items[0, place], actions[0, place], ages[0, place] = row_of_hash[entry.item], entry.action, entry.age
        valid[0, place] = True
    return HistoryRows(items.astype(np.int32), actions.astype(np.int8), ages.astype(np.int64), valid.astype(np.bool_))


def _query_features(
    spec: FeatureSpec, request: Row, history: HistoryRows, best: list[int], items: ItemFeatures
) -> QueryFeatures:
    top = np.full((1, QUERY_ITEMS_LENGTH), -1, dtype=np.int32)
    top[0, : len(best[:QUERY_ITEMS_LENGTH])] = best[:QUERY_ITEMS_LENGTH]
    given = [(request.segments or {}).get(name, "") for name in spec.segments]
    places = [values.index(value) if value in values else 0
              for value, values in zip(given, spec.segments.values(), strict=True)]  # fmt: skip
    return spec.query_features(
        text=spec.query_text([request.query_key], [request.query_key]),
        query_id=spec.query_ids([request.query_key]),
        segments=np.array(places, dtype=np.int32).reshape(1, -1),
        history=history,
        best=top,
        items=items,
    )


def _cross(
    lake: Lake, config: PrerankConfig, as_of: str, loaded: LoadedModel, request: Row, item_id: str
) -> dict[str, float]:
    read = loaded.model.cross_read()
    if not read:
        return {}
    day = DateRange(as_of, as_of)
    require_current(lake, config, c.INTERACTIONS, day)
    schema = f"query_key string, item_id string, segments map<string,string>, {AS_OF} string"
    pair = lake.spark.createDataFrame([(request.query_key, item_id, request.segments or {}, as_of)], schema)
    of_item = lake.read(c.INTERACTIONS, day).where(F.col("item_id") == item_id)
    of_pair = of_item.where(F.col("query_key") == request.query_key)
    backoff = _narrowed(backoff_of(lake, day, config), of_item, request.query_key) if needs_backoff(config) else None
    [row] = with_cross(pair, of_pair, config, backoff).select("cross").toLocalIterator()
    values = dict(zip(cross_names(config), row.cross, strict=True))
    return {name: float(values[name]) for name in read}


def _narrowed(backoff: Backoff, of_item: DataFrame, query_key: str) -> Backoff:
    """Only the item's interactions, under whatever query, and the query's own counts."""
    queries = backoff.queries_daily.where(F.col("query_key") == query_key)
    return replace(backoff, interactions=of_item, queries_daily=queries)


def _nearest(table: DataFrame, column: str, name: str) -> str | None:
    near = table.select(column).orderBy(F.levenshtein(F.col(column), F.lit(name)), column).limit(1)
    found = next(near.toLocalIterator(), None)
    return None if found is None else str(found[0])
