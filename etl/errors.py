"""Failures of etl. Base classes and exit codes: etl.contract.errors."""

from collections.abc import Sequence

from etl.contract.dates import DateRange, shift_ds
from etl.contract.errors import PrerankError
from etl.made_by import command_for


class MissingDataError(PrerankError):
    """A table, or some of its days, is not there."""

    def __init__(self, table: str, days: DateRange | None, where: str):
        self.table, self.days, self.where = table, days, where
        super().__init__(table, days, where)

    def __str__(self) -> str:
        command = command_for(self.table, self.days)
        if self.days is None:
            return f"no table '{self.table}' at {self.where}. Make it with: {command} (is lake.root right?)"
        return (
            f"table '{self.table}' was not built for {self.days} ({self.where}). Make it with: {command}; "
            "on the first day of a log there is nothing before it: start a day later"
        )


class OutdatedTableError(PrerankError):
    """Days of a table were built under another definition than the configuration's."""

    def __init__(self, table: str, days: DateRange):
        self.table, self.days = table, days
        super().__init__(table, days)

    def __str__(self) -> str:
        span = f"--start-ds {self.days.start} --end-ds {self.days.end}"
        return (
            f"table '{self.table}', {self.days}: built under another definition than the configuration's (windows, "
            f"actions, segments, ...). Build them again with: prerank backfill {span}"
        )


class LostEventsError(PrerankError):
    """Partials of another definition that windows reach back to, whose events are no longer in the lake."""

    def __init__(self, table: str, days: DateRange):
        self.table, self.days = table, days
        super().__init__(table, days)

    def __str__(self) -> str:
        return (
            f"table '{self.table}', days within {self.days}: built under another definition than the configuration's "
            "(actions, segments, families, ...), and their events are no longer in the lake to build them again from. "
            f"Nothing was changed. Ingest them again with: {command_for('events', self.days)}; or build days whose "
            "windows do not reach back so far (interactions.windows_days), or put the configuration back"
        )


class OutdatedEventsError(PrerankError):
    """Late rows were to join days of events that were ingested under another definition than the configuration's."""

    def __init__(self, spans: Sequence[str], commands: Sequence[str]):
        self.spans, self.commands = spans, commands
        super().__init__(spans, commands)

    def __str__(self) -> str:
        return (
            f"events of {', '.join(self.spans)} were ingested under another definition than the "
            "configuration's (actions, segments, columns, limits): late rows would stand beside rows that were read "
            "otherwise. The tables are as they were. Ingest these days again, whole and without --append: "
            f"{', '.join(self.commands)}; or append with the configuration that they were ingested with"
        )


class TableColumnsError(PrerankError):
    """A table lacks columns, or has some that would be lost: another version wrote it."""

    def __init__(self, table: str, path: str, missing: list[str], unknown: list[str]):
        self.table, self.path, self.missing, self.unknown = table, path, missing, unknown
        super().__init__(table, path, missing, unknown)

    def __str__(self) -> str:
        found = [f"has no column {', '.join(self.missing)}"] if self.missing else []
        found += [f"has columns that this version would drop: {', '.join(self.unknown)}"] if self.unknown else []
        age = "an older" if self.missing else "a newer"
        advice = "Make its days again with this version" if self.missing else "Run the version that wrote it"
        return (
            f"table '{self.table}' at {self.path} {' and '.join(found)}: {age} version of prerank wrote it. Nothing "
            f"was changed. {advice}, or give this one a lake of its own (lake.root)"
        )


class ImmatureLabelsError(PrerankError):
    """Days whose labels may still change: the actions that they count are not all ingested."""

    retryable = True

    def __init__(self, days: DateRange, window_days: int, held: DateRange):
        self.days, self.window_days, self.held = days, window_days, held
        super().__init__(days, window_days, held)

    def __str__(self) -> str:
        window, mature = self.window_days, shift_ds(self.held.end, -self.window_days)
        young = DateRange(max(self.days.start, shift_ds(mature, 1)), self.days.end)
        last = shift_ds(young.end, window)
        when = [f"{day} will be when {shift_ds(day, window)} is ingested" for day in sorted({young.start, young.end})]
        export = f"Export a range up to {mature}, or ingest" if mature >= self.days.start else "Ingest"
        return (
            f"the labels of {young} are not mature: a day D needs events up to D+{window} (export.label_window_days), "
            f"and they span {self.held}. {', '.join(when)}. {export} what is missing: "
            f"prerank ingest --source ... --start-ds {shift_ds(self.held.end, 1)} --end-ds {last}"
        )


class GateError(PrerankError):
    """A quality gate stopped the run before anything was published (exit code 3)."""

    exit_code = 3

    def __init__(self, table: str, failures: list[str], docs: str):
        self.table, self.failures, self.docs = table, failures, docs
        super().__init__(table, failures, docs)

    def __str__(self) -> str:
        lines = "".join(f"\n  - {failure}" for failure in self.failures)
        return f"quality gate of '{self.table}' failed, nothing was published:{lines}\n  details: {self.docs}"


class EmptyInputError(PrerankError):
    """A raw log holds no row of the asked days."""

    def __init__(self, source: str, days: str, outside: int):
        self.source, self.days, self.outside = source, days, outside
        super().__init__(source, days, outside)

    def __str__(self) -> str:
        return (
            f"{self.source} has no row in {self.days} (UTC); {self.outside} rows lie outside. "
            "The tables are as they were. Check --ds or --start-ds/--end-ds, and that ts is in UTC."
        )


class EmptyCatalogueError(PrerankError):
    """A raw catalogue, or file of candidate sets, has no row with an id for the asked days."""

    def __init__(self, source: str, table: str, key: str, days: str, outside: int, without_id: int):
        self.source, self.table, self.key, self.days = source, table, key, days
        self.outside, self.without_id = outside, without_id
        super().__init__(source, table, key, days, outside, without_id)

    def __str__(self) -> str:
        found, advice = [], []
        if self.without_id:
            found.append(f"{self.without_id} rows have no {self.key}")
            advice.append("that its lines are whole, and that --source says how it is laid out")
        if self.outside:
            found.append(f"the column ds of {self.outside} rows names no day of {self.days}")
            advice.append("--ds or --start-ds/--end-ds")
        return (
            f"{self.source} has no row of {self.table} for {self.days}: {', '.join(found) or 'it has no rows'}. "
            f"The tables are as they were. Check {', and '.join(advice) or '--input'}."
        )


class RowBalanceError(PrerankError):
    """Rows were lost or doubled on the way from the raw log to events and rejects."""

    def __init__(self, source: str, rows: int, kept: int, refused: int):
        self.source, self.rows, self.kept, self.refused = source, rows, kept, refused
        super().__init__(source, rows, kept, refused)

    def __str__(self) -> str:
        return (
            f"{self.source}: {self.rows} rows in the range, but {self.kept} events + {self.refused} rejected. "
            "The tables are as they were. If the file was still being written, ingest it again when it is complete."
        )
