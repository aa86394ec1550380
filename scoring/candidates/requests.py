"""Which requests of a day have no candidates: sets that came without items, and requests that came without a set."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from etl.contract.dates import DateRange
from etl.training_rows import requests

REQUEST = ("request_id", "query_key", "user_id", "segments")


def is_open() -> Column:
    """A set that came without items. Null, a list that could not be read, is not one."""
    return F.coalesce(F.size("items") == 0, F.lit(False)) & F.col("items").isNotNull()


def new_requests(events: DataFrame, held: DataFrame, ds: str) -> DataFrame:
    """Requests that began on ``ds`` and have no row in ``held``; ``events`` hold the day before too.

    What was asked and by whom is that of the earliest event. A request that began the day before is not one of this
    day, whatever was clicked after midnight.
    """
    begun = requests(events, DateRange(ds, ds)).select(*REQUEST)
    return begun.join(held.select("request_id"), "request_id", "left_anti")
