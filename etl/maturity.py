"""When a day's labels are final: which later days still count for a request, and whether they are all there."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from etl.contract import columns as c
from etl.contract.dates import DateRange, shift_ds
from etl.errors import ImmatureLabelsError, MissingDataError
from etl.lake import Lake
from etl.plan import require_source


def reach_days(window_days: int) -> int:
    """The events of a request of day D count until the end of so many days after D.

    Without a window it is one: what followed shortly after midnight, as far as it is there.
    """
    return max(1, window_days)


def require_mature(lake: Lake, days: DateRange, window_days: int) -> None:
    """Raise unless ``events`` holds every event that the labels of ``days`` count, until ``window_days`` after each.

    The newest day that holds events decides, never the clock. A window of 0 asks for the days themselves only.
    Raises ImmatureLabelsError, or MissingDataError for days up to the newest that were never ingested.
    """
    require_source(lake, c.EVENTS, days)
    if not window_days:
        return
    held = lake.days_of(c.EVENTS)
    if not held:
        raise MissingDataError(c.EVENTS, days, lake.path(c.EVENTS))
    if held[-1] < shift_ds(days.end, window_days):
        raise ImmatureLabelsError(days, window_days, DateRange(held[0], held[-1]))
    require_source(lake, c.EVENTS, days.widen(after=window_days))


def counted_events(events: DataFrame, begun: DataFrame, window_days: int) -> DataFrame:
    """The events of the requests of ``begun`` that count for their rows, whatever other days ``events`` holds.

    -> request_id, item_id, action, position, and ``ds``, the day on which the request began.
    """
    last = F.date_format(F.date_add(F.to_date("ds"), reach_days(window_days)), "yyyy-MM-dd")
    until = begun.select("request_id", "ds", last.alias("last_ds"))
    own = events.select("request_id", "item_id", "action", "position", F.col("ds").alias("event_ds"))
    counted = own.join(until, "request_id").where(F.col("event_ds") <= F.col("last_ds"))
    return counted.select("request_id", "item_id", "action", "position", "ds")
