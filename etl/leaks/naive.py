"""What cross features would say if they were joined without care: the interactions of the row's own day.

A row's own day holds the row's own engagement, and that is the mistake that training sets are made with: joining the
newest table, or the one of the log's day, instead of the one that stood when the request came.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.backoff import backoff_of
from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange
from etl.cross import needs_backoff, with_cross
from etl.lake import Lake
from etl.query_windows import AS_OF
from etl.training_rows import requests


def naive_cross(lake: Lake, config: EtlConfig, days: DateRange) -> DataFrame:
    """(request, item_id) -> ``cross`` as in an export, but of interactions of the row's own day."""
    events = lake.read(c.EVENTS, days)
    pairs = events.select("request_id", "item_id").distinct()
    rows = pairs.join(requests(events, days), "request_id").withColumn(AS_OF, F.col("ds"))
    backoff = backoff_of(lake, days, config) if needs_backoff(config) else None
    crossed = with_cross(rows, lake.read(c.INTERACTIONS, days), config, backoff)
    return crossed.select(F.xxhash64("request_id").alias("request"), "item_id", "cross")
