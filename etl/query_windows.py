"""Counts of whole queries in every window of some days, from ``queries_daily``."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.config import EtlConfig
from etl.contract import columns as c
from etl.contract.dates import DateRange

AS_OF = "as_of_ds"


def query_windows(queries_daily: DataFrame, days: DateRange, config: EtlConfig) -> DataFrame:
    """(as_of_ds, query_key, segment_name, segment_value) -> ``<action>_cnt_<w>d`` at each of ``days``.

    ``queries_daily`` hold the days of their longest windows.
    """
    settings = config.interactions
    ends = queries_daily.sparkSession.createDataFrame([(ds,) for ds in days], f"{AS_OF} string")
    age = F.date_diff(F.to_date(AS_OF), F.to_date("ds"))
    covered = queries_daily.join(F.broadcast(ends), age.between(0, settings.longest_days - 1))
    sums = [
        F.sum(F.when(age < width, F.col(c.count(action))).otherwise(F.lit(0))).alias(c.window_count(action, width))
        for action in config.events.actions
        for width in settings.windows_days
    ]
    return covered.groupBy(AS_OF, *c.QUERY_KEY).agg(*sums)
