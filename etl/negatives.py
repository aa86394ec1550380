"""Items that a request was not shown, as rows without engagement, drawn by a hash from what was known before its day.

``candidates``: the other items of its query in ``interactions`` of D-1-lag_days, those with the lowest hash of
(request_id, item_id, seed). ``catalogue``: items of the newest snapshot not later than that day. Requests never meet
the whole catalogue: the k-th draw is the place hash(request_id, k, seed) modulo size, places being in the order of
item_id. Draws that repeat, or that the request holds, are passed over; there are more than twice as many as needed, so
that only a catalogue hardly larger than what is needed yields fewer items than asked for.
"""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from etl.catalogues import snapshot_days
from etl.config import CANDIDATES, CATALOGUE, EtlConfig, ExportConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.errors import MissingDataError
from etl.item_versions import NO_VERSION, VERSION, version_of
from etl.lake import Lake
from etl.query_windows import AS_OF
from etl.sampling import pair_hash
from etl.sources.errors import InputError

_SPARE_DRAWS = 16


def require_catalogue(lake: Lake, config: EtlConfig, days: DateRange) -> None:
    """Where negatives come from the catalogue, raise unless each of ``days`` may see a snapshot."""
    if config.export.negatives != CATALOGUE:
        return
    seen = shift_ds(days.start, -1 - config.interactions.lag_days)
    snapshots = lake.days_of(c.ITEMS)
    if not snapshots:
        raise MissingDataError(c.ITEMS, None, lake.path(c.ITEMS))
    if snapshot_days(snapshots, seen) is None:
        raise InputError(
            lake.path(c.ITEMS),
            f"export.negatives is {CATALOGUE}, but rows of {days.start} see none: the first is of {snapshots[0]}",
            f"ingest the catalogue as of an earlier day, --table items --ds {seen}, or export from "
            f"{shift_ds(snapshots[0], 1 + config.interactions.lag_days)} on",
        )


def own_items(counted: DataFrame) -> DataFrame:
    """(request_id) -> ``own``: the distinct items of its events, which no draw may give it again."""
    return counted.groupBy("request_id").agg(F.collect_set("item_id").alias("own"))


def negative_pairs(drawn: DataFrame, config: EtlConfig) -> DataFrame:
    """(request_id, ds, item_id) as rows of the shape of etl.training_rows.labelled_pairs."""
    no = F.lit(0).cast("tinyint")
    return drawn.select(
        "request_id",
        "ds",
        "item_id",
        F.array(*(no for _ in config.heads)).alias("labels"),
        F.lit(-1).alias("position"),
        F.lit(config.export.negative_weight).alias("weight"),
        F.lit(False).alias("acted"),
    )


def draw_negatives(
    counted: DataFrame, begun: DataFrame, lake: Lake, config: EtlConfig, days: DateRange
) -> DataFrame | None:
    """(request_id, ds, item_id): at most ``negatives_per_request`` for each of ``begun``; None if none are asked for.

    ``counted`` are the events of the requests (see etl.maturity).
    """
    kind, lag = config.export.negatives, config.interactions.lag_days
    if kind not in (CANDIDATES, CATALOGUE):
        return None
    asked = begun.select("request_id", "ds", "query_key").join(own_items(counted), "request_id")
    if kind == CANDIDATES:
        known = known_items(lake.read(c.INTERACTIONS, days.shift(-1 - lag)))
        return from_candidates(asked.withColumn(AS_OF, as_of(lag)), known, config.export)
    snapshots = lake.days_of(c.ITEMS)
    asked = asked.withColumn(VERSION, version_of(F.col("ds"), snapshots, days, lag))
    return from_catalogue(asked, catalogue_places(lake, snapshots, days, lag), config.export)


def as_of(lag_days: int) -> Column:
    """The one ds of ``interactions`` that a row's ``ds`` sees."""
    return F.date_format(F.date_sub(F.to_date("ds"), 1 + lag_days), "yyyy-MM-dd")


def known_items(interactions: DataFrame) -> DataFrame:
    """(as_of_ds, query_key, item_id) of ``interactions``, each once."""
    everyone = interactions.where(F.col("segment_name") == c.ALL_SEGMENT)
    return everyone.select(F.col("ds").alias(AS_OF), "query_key", "item_id")


def from_candidates(asked: DataFrame, known: DataFrame, config: ExportConfig) -> DataFrame:
    """``asked``: request_id, ds, query_key, as_of_ds, own. -> request_id, ds, item_id.

    A query's items stay one list, beside which its requests are laid: only what is drawn becomes rows.
    """
    lists = known.groupBy(AS_OF, "query_key").agg(F.collect_list("item_id").alias("known"))
    others = F.array_except("known", "own")
    ranked = F.transform(
        others,
        lambda item: F.struct(
            pair_hash(F.col("request_id"), item, config.sampling_seed).alias("rank"), item.alias("item_id")
        ),
    )
    lowest = F.slice(F.array_sort(ranked), 1, config.negatives_per_request)
    drawn = asked.join(lists, [AS_OF, "query_key"]).select("request_id", "ds", F.explode(lowest).alias("drawn"))
    return drawn.select("request_id", "ds", "drawn.item_id")


def catalogue_places(lake: Lake, snapshots: Sequence[str], days: DateRange, lag_days: int) -> DataFrame:
    """(item_version, place, item_id): the snapshots that ``days`` see, places from 0 in the order of item_id."""
    seen = {snapshot_days(snapshots, shift_ds(day, -1 - lag_days)) or NO_VERSION for day in days}
    items = lake.read(c.ITEMS).where(F.col("ds").isin(*sorted(seen)))
    return places(items.select(F.col("ds").alias(VERSION), "item_id"))


def places(items: DataFrame) -> DataFrame:
    in_order = Window.partitionBy(VERSION).orderBy("item_id")
    return items.withColumn("place", F.row_number().over(in_order).cast("bigint") - 1)


def catalogue_draws(asked: DataFrame, placed: DataFrame, config: ExportConfig) -> DataFrame:
    """Add ``draws`` to ``asked`` (request_id, own, item_version): distinct places in the order in which they came."""
    sizes = placed.groupBy(VERSION).agg(F.count(F.lit(1)).alias("size"))
    needed = F.lit(config.negatives_per_request) + F.size("own")
    seed = F.lit(config.sampling_seed).cast("bigint")
    numbers = F.sequence(F.lit(1).cast("bigint"), (2 * needed + _SPARE_DRAWS).cast("bigint"))
    draws = F.transform(numbers, lambda k: F.pmod(F.xxhash64(F.col("request_id"), k, seed), F.col("size")))
    return asked.join(F.broadcast(sizes), VERSION).withColumn("draws", F.array_distinct(draws))


def from_catalogue(asked: DataFrame, placed: DataFrame, config: ExportConfig) -> DataFrame:
    """``asked``: request_id, ds, item_version, own. -> request_id, ds, item_id: the first draws not in ``own``."""
    asking = catalogue_draws(asked, placed, config)
    # A request holds no more places than items: so many beside the wanted ones are enough.
    enough = F.slice("draws", F.lit(1), F.lit(config.negatives_per_request) + F.size("own"))
    tried = asking.select("request_id", "ds", VERSION, "own", F.posexplode(enough).alias("draw", "place"))
    found = tried.join(placed, [VERSION, "place"]).where(~F.array_contains("own", F.col("item_id")))
    first = Window.partitionBy("request_id").orderBy("draw")
    ranked = found.withColumn("rank", F.row_number().over(first))
    return ranked.where(F.col("rank") <= config.negatives_per_request).select("request_id", "ds", "item_id")
