"""What is wrong with the places where tables, logs and files lie."""

from etl.contract.dates import DateRange, shift_ds
from etl.contract.errors import PrerankError
from etl.made_by import REPLACED, command_again


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
            return f"build its days again: {command_again('interactions_daily', DateRange(self.ds, end))}"
        if self.table in REPLACED:
            return f"make the day again: {command_again(self.table, DateRange(self.ds, self.ds))}"
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
