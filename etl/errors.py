"""Failures of etl. Base classes and exit codes: etl.contract.errors."""

from etl.contract.dates import DateRange, shift_ds
from etl.contract.errors import PrerankError


class MissingDataError(PrerankError):
    """A table, or some of its days, is not there."""

    def __init__(self, table: str, days: DateRange | None, where: str):
        self.table, self.days, self.where = table, days, where
        super().__init__(table, days, where)

    def __str__(self) -> str:
        raw = {"events", "items", "queries", "candidates"}
        other = "score" if self.table == "scores" else "interactions"
        command = f"prerank ingest --table {self.table} --source ..." if self.table in raw else f"prerank {other}"
        if self.days is None:
            return f"no table '{self.table}' at {self.where}. Make it with: {command} (is lake.root right?)"
        span = f"--start-ds {self.days.start} --end-ds {self.days.end}"
        return (
            f"table '{self.table}' was not built for {self.days} ({self.where}). Make it with: {command} {span}; "
            "on the first day of a log there is nothing before it: start a day later"
        )


class FileSystemError(PrerankError):
    """A URI names a file system that Spark cannot open: its jars are missing, or it is misspelt."""

    def __init__(self, where: str, reason: str, hadoop: str):
        self.where, self.reason, self.hadoop = where, reason, hadoop
        super().__init__(where, reason, hadoop)

    def __str__(self) -> str:
        scheme, _, rest = self.where.partition(":")
        if scheme in ("s3", "s3n"):
            hint = f"Hadoop's name for S3 is s3a: s3a:{rest}"
        elif scheme == "s3a":
            jars = f"org.apache.hadoop:hadoop-aws:{self.hadoop}"
            hint = f"It needs the jars of {jars}: --set spark.packages={jars}, or spark-submit --packages"
        else:
            hint = f"Add the jars of '{scheme}' for Hadoop {self.hadoop}: --set spark.packages=GROUP:ARTIFACT:VERSION"
        return f"{self.where} cannot be opened ({self.reason}). {hint}"


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


class DiskFullError(PrerankError):
    """A file could not be written for want of space."""

    retryable = True

    def __init__(self, said: str, free: str):
        self.said, self.free = said, free
        super().__init__(said, free)

    def __str__(self) -> str:
        return (
            f"no space left on a disk ({self.said}); free now: {self.free}. What was committed stands, what "
            "was half-written is never read. Make room, or move what is full to another disk, and run the same command "
            "again"
        )


class NotWritableError(PrerankError):
    """A place refuses what has to be written there."""

    def __init__(self, place: str, said: str):
        self.place, self.said = place, said
        super().__init__(place, said)

    def __str__(self) -> str:
        return (
            f"{self.place} cannot be written ({self.said}). What was committed stands. Let the user who runs prerank "
            "write there, or name another place (lake.root, --out, spark.local.dir), and run the same command again"
        )


#: How the days of a table are made again; any other is made by the verb that wrote it, once the day is gone.
_MADE_BY = {
    "events": "prerank ingest --source ... --input ...",
    "events_rejected": "prerank ingest --source ... --input ...",
    "items": "prerank ingest --table items --source ... --input ...",
    "queries": "prerank ingest --table queries --source ... --input ...",
    "candidates": "prerank ingest --table candidates --source ... --input ...",
    "interactions": "prerank interactions",
    "query_items": "prerank interactions",
    "interactions_daily": "prerank interactions --again",
    "queries_daily": "prerank interactions --again",
}
_TILES = "interactions_tiles_"


class DamagedFileError(PrerankError):
    """A file of a table is gone, or is not what its writer left there."""

    def __init__(self, table: str, ds: str, path: str, found: str):
        self.table, self.ds, self.path, self.found = table, ds, path, found
        super().__init__(table, ds, path, found)

    def __str__(self) -> str:
        return (
            f"table '{self.table}', {self.ds or 'no day'}: the file {self.path} {self.found}. What was committed "
            f"stands, other files are whole. Restore the file, or {self._again()}"
        )

    def _again(self) -> str:
        if self.table.startswith(_TILES):
            end = shift_ds(self.ds, int(self.table.removeprefix(_TILES)) - 1)
            return f"build its days again: {_MADE_BY['interactions_daily']} --start-ds {self.ds} --end-ds {end}"
        if self.table in _MADE_BY:
            return f"make the day again: {_MADE_BY[self.table]} --ds {self.ds}"
        folder = self.path.partition("/ds=")[0]
        drop = f"drop the day by Spark SQL, DELETE FROM delta.`{folder}` WHERE ds = '{self.ds}'"
        if self.table == "runs":
            return f"{drop}; what it told of is then missing, and built again by prerank backfill"
        return f"{drop}, and run the verb that wrote it again"


class DamagedLogError(PrerankError):
    """The log of a Delta table lacks an entry, or holds one that cannot be read.

    Where Delta does not say which table it is, ``table`` is empty and ``path`` the lake's root.
    """

    def __init__(self, table: str, path: str, found: str):
        self.table, self.path, self.found = table, path, found
        super().__init__(table, path, found)

    def __str__(self) -> str:
        if not self.table:
            return (
                f"a table of {self.path}: its log is damaged ({self.found}). Nothing was written. The same command "
                "with --debug shows which table it was about; restore the entry from a backup, or make the table again"
            )
        return (
            f"table '{self.table}': its log {self.path}/_delta_log is damaged ({self.found}). Nothing was written, and "
            f"its data files are as they were. Restore the entry from a backup; without one, move {self.path} away and "
            "make the table again: raw tables with prerank ingest, derived ones with prerank backfill"
        )


class NewerTableError(PrerankError):
    """A table that this version cannot read or write, as a newer one wrote it."""

    def __init__(self, table: str, path: str, needs: str, written_by: str):
        self.table, self.path, self.needs, self.written_by = table, path, needs, written_by
        super().__init__(table, path, needs, written_by)

    def __str__(self) -> str:
        writer = f"a newer version ({self.written_by})" if self.written_by else "a newer version"
        name = f"table '{self.table}' at" if self.table else "a table of"
        return (
            f"{name} {self.path}: {writer} wrote it: {self.needs}. Nothing was changed. Run a version "
            "of prerank with at least that Delta, or give this one a lake of its own (lake.root)"
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


class WriteVerificationError(PrerankError):
    """A commit holds another number of rows than was computed."""

    retryable = True

    def __init__(self, table: str, days: DateRange, computed: int, found: int):
        self.table, self.days, self.computed, self.found = table, days, computed, found
        super().__init__(table, days, computed, found)

    def __str__(self) -> str:
        return (
            f"table '{self.table}', {self.days}: {self.computed} rows were computed, {self.found} stand in the table. "
            "Run the same command again; if it repeats, the input changed while it was read."
        )


class WriteConflictError(PrerankError):
    """Other jobs kept committing to the days that this one writes."""

    retryable = True

    def __init__(self, table: str, winner: str, attempts: int):
        self.table, self.winner, self.attempts = table, winner, attempts
        super().__init__(table, winner, attempts)

    def __str__(self) -> str:
        return (
            f"table '{self.table}': {self.winner} committed the same days first, and so went {self.attempts} attempts. "
            "What it wrote stands. When it has ended (see prerank runs), run the same command again; jobs of "
            "overlapping days belong one after the other."
        )


class ChangedMeanwhileError(PrerankError):
    """Days that a job adds to were written by another one since it read them."""

    retryable = True

    def __init__(self, table: str, days: DateRange, read: int, winner: str):
        self.table, self.days, self.read, self.winner = table, days, read, winner
        super().__init__(table, days, read, winner)

    def __str__(self) -> str:
        return (
            f"table '{self.table}', {self.days}: {self.winner} wrote these days after this job had read version "
            f"{self.read}. What it would write knows nothing of that, so nothing was changed here: run the same "
            "command again."
        )


class LostCommitError(PrerankError):
    """A commit that Delta has confirmed is not in the table's log."""

    retryable = True

    def __init__(self, table: str, path: str, run_id: str):
        self.table, self.path, self.run_id = table, path, run_id
        super().__init__(table, path, run_id)

    def __str__(self) -> str:
        return (
            f"table '{self.table}': no entry of {self.path}/_delta_log is of run {self.run_id}, which has just "
            "committed. Another program wrote over it or removed it: see that nothing but prerank writes there, and "
            "run the same command again."
        )


class TableBusyError(PrerankError):
    """Another process of this host writes the table, for longer than anybody waits."""

    retryable = True

    def __init__(self, table: str, holder: str, seconds: int):
        self.table, self.holder, self.seconds = table, holder, seconds
        super().__init__(table, holder, seconds)

    def __str__(self) -> str:
        return (
            f"table '{self.table}' has been written by {self.holder} for {self.seconds} s. Nothing was changed here. "
            "Run the same command again when it has ended, or end it if it hangs: what it committed stands."
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
