"""Which command makes a table, for those who are told to make one."""

from etl.contract.dates import DateRange

_INGESTED = "ingest --table {} --source ... --input ..."
#: What follows ``prerank``; a table that is not here is made by ``interactions``.
_VERBS = {
    **{table: _INGESTED.format(table) for table in ("events", "items", "queries", "candidates")},
    "events_rejected": _INGESTED.format("events"),
    "runs": _INGESTED.format("events"),
    "item_vectors": "embed --model DIR",
    "scores": "score --model DIR",
    "models": "promote --model DIR --data DIR",
    "monitoring": "monitor",
}
#: Their verbs take one day.
_DAY_BY_DAY = ("item_vectors", "scores", "models")
#: Partials, which ``interactions`` takes as they are unless it is told not to.
_PARTIALS = ("interactions_daily", "queries_daily")
#: Tables whose days are replaced whole by what makes them, whatever state their files are in.
REPLACED = ("events", "events_rejected", "items", "queries", "candidates", "interactions", "query_items", *_PARTIALS)


def command_for(table: str, days: DateRange | None = None) -> str:
    """What makes ``days`` of a table, or the table."""
    line = f"prerank {_VERBS.get(table, 'interactions')}"
    if days is None:
        return line
    if days.start == days.end or table in _DAY_BY_DAY:
        return f"{line} --ds {days.start}"
    return f"{line} --start-ds {days.start} --end-ds {days.end}"


def command_again(table: str, days: DateRange) -> str:
    """As command_for, where the days are there and are to be made anew."""
    line = command_for(table, days)
    return line.replace("prerank interactions", "prerank interactions --again") if table in _PARTIALS else line
